#!/usr/bin/env python
"""Django's command line."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "migration_console.settings")
    from django.core.management import execute_from_command_line

    from migration_console.lib.acting import acting_as_command

    with acting_as_command():
        execute_from_command_line(sys.argv)

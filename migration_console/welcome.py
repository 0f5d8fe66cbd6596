"""The page behind a link for a new password: good once, for three days, without signing in."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpResponse
from django.urls import reverse_lazy


class Welcome(PasswordResetConfirmView):
    """Asks for the password; Django keeps the secret out of the address while the form is open."""

    template_name = "console/welcome.html"
    title = "Choose your password"
    success_url = reverse_lazy("admin:login")

    def get_user(self, uidb64: str) -> Any:
        """Return the person; who was deactivated meanwhile sees that the link is no longer good."""
        user = super().get_user(uidb64)
        return user if user is not None and user.is_active and user.is_staff else None

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        """Return what the page needs, in the look of the console."""
        return {**admin.site.each_context(self.request), **super().get_context_data(**more), "person": self.user}

    def form_valid(self, form: Any) -> HttpResponse:
        """Save, and lead to the way in."""
        messages.success(self.request, "Your password is set. Sign in with it.")
        return super().form_valid(form)

"""The page that tries requests."""

from playwright.sync_api import Page

from tests.test_permissions import TABLE


def test_requests_can_be_tried_without_internet(page: Page) -> None:
    page.goto("/docs")
    page.click("text=/health >> nth=0")
    page.click("button:has-text('Try it out')")
    page.click("button:has-text('Execute')")
    page.wait_for_selector(".live-responses-table >> text='200'")
    assert page.locator(".opblock").count() == len(TABLE)
    assert page.locator(".errors-wrapper").count() == 0

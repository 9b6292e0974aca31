"""Problem documents as a client reads them."""

from typing import Any

from service.errors import PROBLEMS


def problem_of(response: Any, status: int, slug: str) -> dict[str, Any]:
    """Assert that the answer is this problem, well formed; the document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"/problems/{slug}"
    assert document["status"] == status
    assert document["title"] == PROBLEMS[slug].title
    assert document["detail"]
    assert document["instance"] == response.headers["x-request-id"]
    return document

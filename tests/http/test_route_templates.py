"""Route templates: which paths match, which values they get, and which template has precedence."""

from __future__ import annotations

import pytest

from durablecli.http.route_templates import RouteTemplate


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("", "", {}),
        ("", "a", None),
        ("hello", "hello", {}),
        ("/hello/", "HELLO", {}),
        ("hello", "hello/you", None),
        ("hello/{name}", "Hello/You", {"name": "You"}),
        ("hello/{name}", "hello", None),
        ("hello/{name?}", "hello", {}),
        ("hello/{name?}", "hello/you", {"name": "you"}),
        ("hello/{name=world}", "hello", {"name": "world"}),
        ("hello/{name=world}", "hello/you", {"name": "you"}),
        ("o/{id:int}", "o/12", {"id": "12"}),
        ("o/{id:int}", "o/-12", {"id": "-12"}),
        ("o/{id:int}", "o/x", None),
        ("o/{id:int}", "o/2147483648", None),
        ("o/{id:long}", "o/2147483648", {"id": "2147483648"}),
        ("o/{id:long}", "o/" + "9" * 5000, None),
        ("o/{id:int?}", "o", {}),
        ("o/{id:int?}", "o/7", {"id": "7"}),
        ("o/{id:int?}", "o/x", None),
        ("o/{id:int=5}", "o", {"id": "5"}),
        ("f/{*rest}", "f/a/b/c", {"rest": "a/b/c"}),
        ("f/{*rest}", "f", {}),
        ("f/{**rest}", "f/a", {"rest": "a"}),
        ("f/{*rest=index}", "f", {"rest": "index"}),
        ("{a}-{b}.json", "x-y-z.json", {"a": "x", "b": "y-z"}),
        ("{a}-{b}.json", "x.json", None),
        ("v{major:int}/x", "v2/x", {"major": "2"}),
        ("v{major:int}/x", "vx/x", None),
        ("{a:alpha}", "abc", {"a": "abc"}),
        ("{a:alpha}", "ab1", None),
        ("{a:bool}", "True", {"a": "True"}),
        ("{a:bool}", "1", None),
        ("{a:guid}", "0f8fad5b-d9cb-469f-a165-70867728950e", {"a": "0f8fad5b-d9cb-469f-a165-70867728950e"}),
        ("{a:guid}", "no", None),
        ("{a:datetime}", "2026-11-23", {"a": "2026-11-23"}),
        ("{a:datetime}", "soon", None),
        ("{a:decimal}", "1.5", {"a": "1.5"}),
        ("{a:decimal}", "1e5", None),
        ("{a:double}", "1e5", {"a": "1e5"}),
        ("{a:minlength(2)}", "x", None),
        ("{a:maxlength(2)}", "xyz", None),
        ("{a:length(2)}", "xy", {"a": "xy"}),
        ("{a:length(2)}", "xyz", None),
        ("{a:length(2,3)}", "xyz", {"a": "xyz"}),
        ("{a:min(3)}", "2", None),
        ("{a:max(3)}", "4", None),
        ("{a:range(1,3)}", "2", {"a": "2"}),
        ("{a:range(1,3)}", "4", None),
        (r"{a:regex(^\d{{2}}$)}", "12", {"a": "12"}),
        (r"{a:regex(^\d{{2}}$)}", "123", None),
        (r"{a:regex(^(x|y:z)$):minlength(3)}", "y:z", {"a": "y:z"}),
        (r"{a:regex(^(x|y:z)$):minlength(3)}", "x", None),
        ("{a:alpha:minlength(2)?}", "ab", {"a": "ab"}),
        ("a{{b}}", "a{b}", {}),
    ],
)
def test_a_path_matches_or_not(template: str, path: str, found: dict[str, str] | None) -> None:
    assert RouteTemplate(template).match(path.split("/") if path else []) == found


@pytest.mark.parametrize(
    "template",
    ["{", "a}", "{}", "{a}/{A}", "{*a}/b", "{a?}/b", "{a:what}", "{a:int(3)}", "{a:range(x)}", "a//b", "x{a?}", "x{*a}",
     "{a:regex(()}", "{a:length(1,2,3)}"],
)  # fmt: skip
def test_an_invalid_template_is_an_error(template: str) -> None:
    with pytest.raises(ValueError, match=r"route|parameter"):
        RouteTemplate(template)


def test_the_most_specific_template_has_precedence() -> None:
    texts = ["{*rest}", "{a}/{b}", "a/{b}", "a/b", "{a:int}/b", "{a}-x/b", "a/{b:int}", "a/{*rest}"]
    ranked = sorted(map(RouteTemplate, texts), key=lambda template: template.rank)
    assert [template.text for template in ranked] == [
        "a/b", "a/{b:int}", "a/{b}", "a/{*rest}", "{a}-x/b", "{a:int}/b", "{a}/{b}", "{*rest}",
    ]  # fmt: skip

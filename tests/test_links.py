"""The checker of external links, against a server of our own: what answers, what does not, what is asked at all."""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools import links


class Answer(BaseHTTPRequestHandler):
    """Answers /N with the status N, and /flaky well from the second time on."""

    asked: list  # of the class that a test makes

    def do_GET(self):
        self.asked.append(self.path)
        flaky = 503 if self.asked.count("/flaky") == 1 else 200
        self.send_response(flaky if self.path == "/flaky" else int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Answer,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as here:
        threading.Thread(target=here.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{here.server_port}", handler.asked
        here.shutdown()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See [it](https://a.example/x).", ["https://a.example/x"]),
        ("<https://a.example/x> and `https://b.example`", ["https://a.example/x", "https://b.example"]),
        ("(https://a.example/A_(b)), then", ["https://a.example/A_(b)"]),
        ("At https://a.example/x.html, or https://b.example!", ["https://a.example/x.html", "https://b.example"]),
        ("https://a.example/x#part", ["https://a.example/x"]),
        ("  url = {https://a.example/x}\n  doi = {10.1/ab_c}", ["https://a.example/x", "https://doi.org/10.1/ab_c"]),
        ("[a file](chapters/x.md), http:// alone", []),
    ],
)
def test_addresses_are_found_without_what_stands_around_them(text, found):
    assert list(links.addresses(text)) == found


def test_what_answers_is_alive(server):
    home, _ = server
    assert links.ask(f"{home}/200") == ""


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_broken_and_asked_once(server, status):
    home, asked = server
    assert links.ask(f"{home}/{status}") == f"HTTP {status}"
    assert asked == [f"/{status}"]


def test_a_passing_failure_is_asked_again(server):
    home, asked = server
    assert links.ask(f"{home}/flaky", pause=0) == ""
    assert asked == ["/flaky"] * 2


def test_a_lasting_failure_is_broken(server):
    home, asked = server
    assert links.ask(f"{home}/500", pause=0) == "HTTP 500"
    assert asked == ["/500"] * links.TRIES


def test_nobody_there_is_broken():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as unused:
        port = unused.server_port
    assert "refused" in links.ask(f"http://127.0.0.1:{port}/", pause=0)


def repository(folder, text):
    (folder / "page.md").write_text(text)
    (folder / "notes.md").write_text("http://127.0.0.1:1/not-tracked")
    for command in (["init", "-q"], ["add", "page.md"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_a_broken_link_is_named_with_its_file_and_fails(server, tmp_path, capsys):
    home, _ = server
    root = repository(tmp_path, f"[a]({home}/200) [b]({home}/404) [c]({home}/403) [b]({home}/404)")
    assert links.main(root, pause=0) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"broken: {home}/404 (HTTP 404) in page.md" in lines
    assert f"turned away: {home}/403 (HTTP 403) in page.md" in lines
    assert lines[-1] == "3 links, 1 broken, 1 turned away"


def test_good_links_pass_and_each_is_asked_once(server, tmp_path, capsys):
    home, asked = server
    root = repository(tmp_path, f"[a]({home}/200) [again]({home}/200#part) [c]({home}/429)")
    assert links.main(root, pause=0) == 0
    assert sorted(asked) == ["/200", "/429"]
    assert capsys.readouterr().out.endswith("2 links, 0 broken, 1 turned away\n")

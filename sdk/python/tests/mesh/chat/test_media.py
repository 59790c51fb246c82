"""Images and files: what they are is told by their bytes."""

import base64
import struct

import pytest

import mesh
from mesh._chat import media

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SAMPLES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0rest",
    "image/gif": b"GIF89arest",
    "image/webp": b"RIFF" + struct.pack("<I", 9) + b"WEBPVP8 ",
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_first_bytes_say_what_an_image_is(kind, tmp_path):
    (tmp_path / "picture.txt").write_bytes(SAMPLES[kind])
    expected = f"data:{kind};base64,{base64.b64encode(SAMPLES[kind]).decode()}"
    for source in (SAMPLES[kind], tmp_path / "picture.txt", str(tmp_path / "picture.txt")):
        assert mesh.image(source) == {"type": "image_url", "image_url": {"url": expected}}


@pytest.mark.parametrize("url", ["https://example.com/a.png", "http://localhost/x", "data:image/png;base64,AA=="])
def test_urls_go_along_as_they_are(url):
    assert mesh.image(url, detail="low")["image_url"] == {"url": url, "detail": "low"}


@pytest.mark.parametrize(
    ("make", "source", "error"),
    [
        (mesh.image, b"%PDF-1.7", ValueError),
        (mesh.image, b"<svg>", ValueError),
        (mesh.image, b"", ValueError),
        (mesh.image, 5, TypeError),
        (mesh.image, None, TypeError),
        (mesh.image, "/no/such/file.png", OSError),
        (mesh.file, PNG, ValueError),
        (mesh.file, b"\xff\xfe\0", ValueError),
        (mesh.file, b"a\0b", ValueError),
        (mesh.file, "https://example.com/a.pdf", ValueError),
        (mesh.file, "/no/such/file.pdf", OSError),
    ],
)
def test_what_no_model_reads_is_refused(make, source, error):
    with pytest.raises(error):
        make(source)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path):
    large = tmp_path / "large.png"
    with large.open("wb") as target:
        target.truncate(media.MAX_MEDIA_BYTES + 1)
    with pytest.raises(ValueError, match="limit"):
        mesh.image(large)
    with pytest.raises(ValueError, match="limit"):
        mesh.image(PNG + bytes(media.MAX_MEDIA_BYTES))


def test_a_pdf_goes_along_and_a_text_is_told(tmp_path):
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7 x")
    assert mesh.file(path)["file"] == {
        "filename": "report.pdf",
        "file_data": f"data:application/pdf;base64,{base64.b64encode(b'%PDF-1.7 x').decode()}",
    }
    assert mesh.file(b"%PDF-1.7 x", name="a.pdf")["file"]["filename"] == "a.pdf"
    assert mesh.file("été".encode(), name="a.txt") == {"type": "text", "text": "a.txt:\n\nété"}


def test_they_go_with_a_message(client, fake):
    client.chat("What is this?", images=[PNG, mesh.image("https://example.com/a.png")], files=[b"text"])
    content = fake.calls[0].json["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["image_url", "image_url", "text", "text"]
    assert content[-1]["text"] == "What is this?"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"message": "a", "images": PNG}, TypeError),
        ({"message": "a", "images": "a.png"}, TypeError),
        ({"message": "a", "files": 5}, TypeError),
        ({"message": "a", "images": [b"x"]}, ValueError),
        ({"messages": [{"role": "user", "content": "a"}], "images": [PNG]}, TypeError),
    ],
)
def test_wrong_ones_are_refused_before_anything_is_sent(client, fake, arguments, error):
    with pytest.raises(error):
        client.chat(**arguments)
    assert not fake.calls

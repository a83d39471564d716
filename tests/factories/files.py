"""Files for tests, made in code: documents of every format, and such as would harm."""

import io
import zipfile

import docx
from pypdf import PdfReader, PdfWriter

WORD_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.document.main+xml"/></Types>'
)
WORD_RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Target="word/document.xml" Type="http://schemas.openxmlformats.org/officeDocument/'
    '2006/relationships/officeDocument"/></Relationships>'
)


def make_pdf(*pages: str) -> bytes:
    """A PDF with one page for each text, lines by line feeds; an empty text gives a page without any."""
    objects: list[bytes] = []
    count = len(pages)
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(count))
    objects.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode())
    font = 3 + 2 * count
    for number, text in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * number} 0 R "
            f"/Resources << /Font << /F1 {font} 0 R >> >> >>".encode()
        )
        stream = _page_stream(text)
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    return _assembled(objects)


def _page_stream(text: str) -> bytes:
    if not text:
        return b""
    lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in text.split("\n")]
    shown = " T* ".join(f"({line}) Tj" for line in lines)
    return f"BT /F1 11 Tf 14 TL 50 740 Td {shown} ET".encode("latin-1")


def _assembled(objects: list[bytes]) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        out.write(b"%010d 00000 n \n" % place)
    out.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return out.getvalue()


def encrypt_pdf(content: bytes, password: str) -> bytes:
    """The same PDF behind a password."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(content)))
    writer.encrypt(password, algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def make_docx() -> bytes:
    """A Word document with headings, paragraphs, a list and a table."""
    document = docx.Document()
    document.core_properties.title = "Engine manual"
    document.add_heading("Engine manual", level=1)
    document.add_paragraph("The engine has two stages.")
    document.add_heading("Maintenance", level=2)
    document.add_paragraph("Change the filter", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        [cell for row in table.rows for cell in row.cells], ["Part", "Hours", "Filter", "400"], strict=True
    ):
        cell.text = text
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def make_word_archive(body: str | bytes, *more: tuple[str, bytes]) -> bytes:
    """A docx around the given `word/document.xml`, with further parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", WORD_TYPES)
        archive.writestr("_rels/.rels", WORD_RELATIONS)
        archive.writestr("word/document.xml", body)
        for name, content in more:
            archive.writestr(name, content)
    return out.getvalue()


def make_word_body(inner: str, prologue: str = "") -> str:
    """A `word/document.xml`."""
    return (
        f'<?xml version="1.0"?>{prologue}<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/'
        f'2006/main"><w:body>{inner}</w:body></w:document>'
    )


def billion_laughs() -> str:
    """Entities that expand to 10⁹ words."""
    entities = "".join(
        f'<!ENTITY l{n} "{"&l" + str(n - 1) + ";" if n else "lol"}{("&l" + str(n - 1) + ";") * 9 if n else ""}">'
        for n in range(10)
    )
    return f"<!DOCTYPE w:document [{entities}]>"


HTML_PAGE = b"""<!doctype html><html><head><title>Fog signals</title><script>var hidden = 1;</script></head><body>
<nav><a href="/">Home</a> <a href="/about">About</a></nav>
<article><h1>Fog signals</h1>
<p>The fog signal of the lighthouse sounds three blasts every ninety seconds, day and night, in any weather.</p>
<h2>History</h2>
<p>It was built in 1844 and converted to compressed air at the turn of the century by two brothers.</p>
<table><tr><th>Year</th><th>Blasts</th></tr><tr><td>1844</td><td>2</td></tr><tr><td>1901</td><td>3</td></tr></table>
<ul><li>Check the valves each week.</li><li>Oil the bearings each month.</li></ul>
</article><footer>Imprint</footer></body></html>"""

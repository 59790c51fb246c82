"""Any linear relation of draft-irtf-cfrg-sigma-protocols-03 over P-256, on top of what the product has for one of them.

Only tests need more than "X = x · G"; with this the draft's other vectors try the sponge, the codec and the group, too.
"""

from dataclasses import dataclass

from mesh_protocol import group, proof
from mesh_protocol.transcript import session_of, squeeze


class Bad(ValueError):
    """An instance or a proof that is not one."""


@dataclass
class Reader:
    data: bytes

    def take(self, length):
        if len(self.data) < length:
            raise Bad("too short")
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def number(self):
        return int.from_bytes(self.take(4), "little")

    def scalar(self):
        return group.decode_scalar(self.take(32))

    def element(self):
        return group.decode_element(self.take(33))


def parse(instance):
    """Return equations, the elements with the generator first, and how many scalars there are."""
    reader, equations = Reader(instance), []
    for _ in range(reader.number()):
        image = [(reader.number(), reader.scalar()) for _ in range(reader.number())]
        terms = [(reader.number(), reader.number(), reader.scalar()) for _ in range(reader.number())]
        equations.append((image, terms))
    elements = [group.GENERATOR]
    while reader.data:
        elements.append(reader.element())
    used = {scalar for _, terms in equations for scalar, _, _ in terms}
    named = [e for image, terms in equations for e in [*(i for i, _ in image), *(t for _, t, _ in terms)]]
    if used != set(range(len(used))) or not named or max(named) >= len(elements):
        raise Bad("an index is not right")
    return equations, elements, len(used)


def total(parts):
    """Return the sum of scalar times element."""
    result = group.GENERATOR.point_at_infinity()
    for scalar, element in parts:
        result += group.multiply_public(element, scalar)
    return result


def times(one, other):
    return group.multiply_add(one, other, bytes(32))


def verifies(tag, instance, narg, *, compact):
    """Return whether a proof verifies; every malformed one does not."""
    try:
        return _verifies(tag, instance, narg, compact=compact)
    except (Bad, group.DecodingError):
        return False


def _verifies(tag, instance, narg, *, compact):
    equations, elements, scalars = parse(instance)
    images = [total((c, elements[e]) for e, c in image) for image, _ in equations]
    if any(image.is_point_at_infinity() for image in images):
        raise Bad("an image is the identity")
    session, reader = session_of(tag), Reader(narg)
    if compact:
        challenge = reader.scalar()
    else:
        commitments = [reader.element() for _ in equations]
    responses = [reader.scalar() for _ in range(scalars)]
    if reader.data:
        raise Bad("something follows")
    sums = [total((times(c, responses[s]), elements[e]) for s, e, c in terms) for _, terms in equations]
    if compact:
        commitments = [t + -group.multiply_public(i, challenge) for t, i in zip(sums, images, strict=True)]
    absorbed = instance + b"".join(group.encode_element(c) for c in commitments)
    expected = group.reduce(squeeze(session, absorbed, 48)[::-1])
    if compact:
        return expected == challenge
    return all(t == c + group.multiply_public(i, expected) for t, c, i in zip(sums, commitments, images, strict=True))


__all__ = ["parse", "proof", "total", "verifies"]

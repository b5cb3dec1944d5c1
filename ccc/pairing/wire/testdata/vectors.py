# Makes vectors.json with nothing but Python's standard library.
import hashlib, hmac, json, struct


def transcript(*parts):
    return b"".join(struct.pack(">I", len(p)) + p for p in parts)


def hkdf(secret, salt, info, length):
    prk = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()[:length]


def vector(offer, serial, tenant, token, nonce_ccc, nonce_pbx, user, password):
    key = hkdf(token.encode(), nonce_ccc, b"comtrexx pairing proof v1", 32)
    text = transcript(offer.encode(), serial.encode(), nonce_ccc, nonce_pbx, user.encode(),
                      hashlib.sha256(password.encode()).digest())
    proof = hmac.new(key, text, hashlib.sha256).digest()
    code = int.from_bytes(hashlib.sha256(transcript(
        b"comtrexx pairing short code v1", offer.encode(), serial.encode(), tenant.encode(), nonce_ccc)).digest()[:8], "big") % 1_000_000
    digest = hashlib.sha256(transcript(
        b"comtrexx pairing completion v1", offer.encode(), nonce_pbx, user.encode(), proof)).hexdigest()
    return dict(offer=offer, serial=serial, tenant=tenant, token=token, nonce_ccc=nonce_ccc.hex(), nonce_pbx=nonce_pbx.hex(),
                user=user, password=password, proof=proof.hex(), code="%03d %03d" % divmod(code, 1000), digest=digest)


print(json.dumps([
    vector("018f3c00-0000-7000-8000-000000000001", "0123456789", "Müller & Söhne GmbH", "0123-4567-89A5",
           bytes(range(32)), bytes(range(32, 64)), "ccc-0a1b2c3d", "correct horse battery"),
    vector("o-1", "9999999999", "A", "ZZZZ-ZZZZ-ZZZ5", b"\xff" * 32, b"\x00" * 32, "u", "p"),
], indent=1, ensure_ascii=False))

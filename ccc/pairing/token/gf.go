package token

// mul multiplies in GF(32) with x^5+x^2+1.
func mul(a, b byte) byte {
	var p byte
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		a <<= 1
		if a&0x20 != 0 {
			a ^= 0b100101
		}
	}
	return p
}

// pow is alpha^n.
func pow(n int) byte {
	p := byte(1)
	for range n {
		p = mul(p, 2)
	}
	return p
}

// sum is the left side of the equation in the package doc.
func sum(values [Len]byte) byte {
	var s byte
	for i, v := range values {
		s ^= mul(v, pow(i))
	}
	return s
}

#!/bin/sh
# Gets a device's certificate by EST (RFC 7030) with nothing but curl and openssl.
#
#   est.sh URL ROOTS DIR CURL-OPTION...
#
# URL is that of simpleenroll or simplereenroll, ROOTS the PKI's roots (PEM). What
# the caller shows is for curl: -u SERIAL:SECRET, or --cert FILE --key FILE. DIR then
# has cert.pem, key.pem and roots.pem.
set -eu
url=$1 roots=$2 dir=$3
shift 3
mkdir -p "$dir"
cp "$roots" "$dir/roots.pem"
(umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/key.pem")
openssl req -new -key "$dir/key.pem" -subj / -outform DER | openssl base64 >"$dir/request"
curl -sS --fail --cacert "$roots" "$@" -H 'Content-Type: application/pkcs10' \
	--data-binary "@$dir/request" "$url" >"$dir/answer"
curl -sS --fail --cacert "$roots" "$@" "${url%/*}/cacerts" >"$dir/cacerts"
for part in answer cacerts; do
	openssl base64 -d -in "$dir/$part" | openssl pkcs7 -inform DER -print_certs
done >"$dir/cert.pem"

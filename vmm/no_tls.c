// SPDX-License-Identifier: BSD-3-Clause
// libmicrohttpd, linked statically, without its TLS: the API is a unix socket's, and libgnutls with
// the eight libraries behind it would be 2.3 MiB of each machine, and code that a guest's escape
// could use. These are what libmicrohttpd would call of libgnutls for MHD_USE_TLS, which nobody
// asks for. A name that a later libmicrohttpd calls beyond them is an error of the linker's.
#include <stdlib.h>

#define TLS_CALLS(X) \
	X(gnutls_alpn_set_protocols) \
	X(gnutls_bye) \
	X(gnutls_certificate_allocate_credentials) \
	X(gnutls_certificate_free_credentials) \
	X(gnutls_certificate_server_set_request) \
	X(gnutls_certificate_set_dh_params) \
	X(gnutls_certificate_set_retrieve_function2) \
	X(gnutls_certificate_set_retrieve_function3) \
	X(gnutls_certificate_set_x509_key_mem) \
	X(gnutls_certificate_set_x509_key_mem2) \
	X(gnutls_certificate_set_x509_trust_mem) \
	X(gnutls_cipher_get) \
	X(gnutls_credentials_set) \
	X(gnutls_deinit) \
	X(gnutls_dh_params_deinit) \
	X(gnutls_dh_params_import_pkcs3) \
	X(gnutls_dh_params_init) \
	X(gnutls_handshake) \
	X(gnutls_init) \
	X(gnutls_priority_deinit) \
	X(gnutls_priority_init) \
	X(gnutls_priority_set) \
	X(gnutls_protocol_get_version) \
	X(gnutls_psk_allocate_server_credentials) \
	X(gnutls_psk_free_server_credentials) \
	X(gnutls_psk_set_server_credentials_function) \
	X(gnutls_record_check_pending) \
	X(gnutls_record_get_direction) \
	X(gnutls_record_recv) \
	X(gnutls_record_send) \
	X(gnutls_session_get_ptr) \
	X(gnutls_session_set_ptr) \
	X(gnutls_strerror) \
	X(gnutls_transport_set_int2)

#define UNREACHABLE(name) \
	void name(void); \
	void name(void) \
	{ \
		abort(); \
	}
TLS_CALLS(UNREACHABLE)

extern void *(*gnutls_malloc)(size_t size);
void *(*gnutls_malloc)(size_t size) = malloc;

// What libmicrohttpd's own start and end call, whatever it is used for.
int gnutls_global_init(void);
int gnutls_global_init(void)
{
	return 0;
}

void gnutls_global_deinit(void);
void gnutls_global_deinit(void)
{
}

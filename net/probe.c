/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net.h"
#include "net/tls.h"

#include "core/text.h"

#include <stdio.h>

static int probe_tls(const struct kp_net_probe *probe, int fd, double deadline,
                     struct kp_net_probe_result *out, struct kp_err *err)
{
    kp_auto_tls_context ctx = NULL;
    SSL *ssl = NULL;
    if (kp_tls_client_new(&ctx, probe->ca, err) < 0 ||
        kp_tls_connect(&ssl, ctx, fd, probe->host, deadline, err) < 0)
        return -1;
    snprintf(out->tls_version, sizeof(out->tls_version), "%s", SSL_get_version(ssl));
    SSL_shutdown(ssl);
    SSL_free(ssl);
    return 0;
}

static int probe_address(const struct kp_net_probe *probe, const struct kp_net_address *address,
                         double deadline, struct kp_net_probe_result *out, struct kp_err *err)
{
    kp_auto_fd int fd = -1;
    out->address = kp_net_address_text(address);
    out->tls_version[0] = '\0';
    if (kp_net_connect(&fd, address, deadline - kp_now(), err) < 0)
        return kp_wrap(err, "connect to %s", out->address.s);
    if (probe->tls && probe_tls(probe, fd, deadline, out, err) < 0)
        return kp_wrap(err, "%s", out->address.s);
    return 0;
}

int kp_net_probe(const struct kp_net_probe *probe, struct kp_net_probe_result *out,
                 struct kp_err *err)
{
    double start = kp_now(), timeout = probe->timeout > 0 ? probe->timeout : 5;
    struct kp_net_addresses addresses;
    struct kp_net_resolving how =
        probe->resolving ? *probe->resolving : (struct kp_net_resolving){0};
    if (how.timeout <= 0 || how.timeout > timeout)
        how.timeout = timeout;
    if (kp_net_resolve(&addresses, probe->host, probe->port, &how, err) < 0)
        return -1;
    double left = timeout - (kp_now() - start);
    for (size_t i = 0; i < addresses.count; i++) {
        // Each address gets its share, so that a dead first one leaves time for the others.
        double deadline = kp_now() + left / (double)addresses.count;
        if (probe_address(probe, &addresses.items[i], deadline, out, err) == 0) {
            out->seconds = kp_now() - start;
            return 0;
        }
    }
    return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* http and https URLs taken apart; no user names, no fragments. */
#pragma once

#include "net/net.h"

#define KP_URL_PATH_MAX 4096

struct kp_url {
    bool tls;
    uint16_t port;
    char host[KP_NET_HOST_MAX];      /* without brackets */
    char authority[KP_NET_HOST_MAX]; /* for the Host field: as written */
    char path[KP_URL_PATH_MAX];      /* with the query; "/" where there is none */
};
/* KP_USAGE with the reason in words. */
KP_CHECK int kp_url_parse(struct kp_url *out, const char *text, struct kp_err *err);

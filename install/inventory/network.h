/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks as texts, IPv4 and IPv6; nothing here asks a resolver. */
#pragma once

#include "core/mem.h"

bool kp_network_is_ip(const char *text);
/* Host bits must be 0, as Kubernetes wants it. */
bool kp_network_is_cidr(const char *text);
bool kp_network_is_host(const char *text);      /* an IP or a DNS name */
bool kp_network_is_host_port(const char *text); /* host:port, [v6]:port */
bool kp_network_same_ip(const char *a, const char *b);
bool kp_network_is_ip6(const char *text);
/* Networks: one CIDR, or one of each family with a comma between them, as Kubernetes writes it. */
bool kp_network_contains(const char *cidrs, const char *ip);
bool kp_network_overlap(const char *a, const char *b);
/* The n-th address of the first network as text (kp_free); NULL where it is outside. */
char *kp_network_nth(const char *cidrs, unsigned n);
/* The one of that family (kp_free), or NULL. */
char *kp_network_of(const char *cidrs, bool ip6);
unsigned kp_network_prefix(const char *cidr); /* its length in bits */
/* "10.0.0.1" -> same, "fd00::1" -> "[fd00::1]"; kp_free. For URLs and host:port. */
char *kp_network_url_host(const char *ip);

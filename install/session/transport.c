/* SPDX-License-Identifier: Apache-2.0 */
#include "install/session/transport.h"

#include "core/file.h"
#include "core/hash.h"
#include "core/proc.h"
#include "core/text.h"

#include <openssl/evp.h>
#include <stdio.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool made_of(const char *text, const char *characters, size_t max)
{
    size_t len = text ? strlen(text) : 0;
    return len > 0 && len <= max && text[0] != '-' && strspn(text, characters) == len;
}

static int complain(const struct kp_ssh_target *target, const char *what, const char *value,
                    struct kp_err *err)
{
    return kp_fail(err, KP_USAGE, "node %s: %s \"%s\" has characters that it may not have",
                   target->node, what, value ? value : "");
}

int kp_target_check(const struct kp_ssh_target *target, struct kp_err *err)
{
    if (!made_of(target->address, LETTERS ".:-_", 255))
        return complain(target, "address", target->address, err);
    if (!made_of(target->user, LETTERS "._-", 64))
        return complain(target, "user", target->user, err);
    if (target->port < 1 || target->port > 65535)
        return kp_fail(err, KP_USAGE, "node %s: port %u", target->node, target->port);
    if (target->jump && !made_of(target->jump, LETTERS ".:-_@[]", 320))
        return complain(target, "jump host", target->jump, err);
    if (target->host_key && !made_of(target->host_key, LETTERS "-.@ +/=", KP_HOST_KEY_MAX))
        return complain(target, "host_key", target->host_key, err);
    char fingerprint[64];
    if (target->host_key && !kp_key_fingerprint(target->host_key, fingerprint, sizeof(fingerprint)))
        return kp_fail(err, KP_USAGE, "node %s: host_key is not \"<type> <base64>\"", target->node);
    return 0;
}

bool kp_key_fingerprint(const char *host_key, char *out, size_t size)
{
    const char *blank = strchr(host_key, ' ');
    const char *text = blank ? blank + 1 : host_key;
    size_t len = strcspn(text, " \t\r\n");
    uint8_t raw[KP_HOST_KEY_MAX], encoded[48];
    struct kp_digest digest;
    if (len < 16 || len % 4 || len / 4 * 3 > sizeof(raw))
        return false;
    int n = EVP_DecodeBlock(raw, (const unsigned char *)text, (int)len);
    if (n < 0)
        return false;
    n -= text[len - 1] == '=';
    n -= text[len - 2] == '=';
    kp_sha256(raw, (size_t)n, &digest);
    EVP_EncodeBlock(encoded, digest.bytes, KP_SHA256_LEN);
    encoded[strcspn((char *)encoded, "=")] = '\0';
    snprintf(out, size, "SHA256:%s", (char *)encoded);
    return true;
}

char *kp_known_hosts_path(const struct kp_ssh_target *target)
{
    return kp_path_expand(target->known_hosts ? target->known_hosts : "~/.ssh/known_hosts");
}

char *kp_known_hosts_name(const struct kp_ssh_target *target)
{
    if (target->port == 22)
        return kp_strdup(target->address);
    return kp_asprintf("[%s]:%u", target->address, target->port);
}

// The keys as the node itself offers them: good enough to be compared by a person, no more.
static char *scan_keys(const struct kp_ssh_target *target)
{
    struct kp_err ignored;
    kp_auto_value(kp_buf) out = KP_BUF(65536);
    char port[16];
    int status;
    snprintf(port, sizeof(port), "%u", target->port);
    const char *argv[] = {"ssh-keyscan",   "-T", "5", "-p", port, "-t", "ed25519,ecdsa,rsa", "--",
                          target->address, NULL};
    kp_auto_value(kp_buf) errors = KP_BUF(65536);
    if (target->jump || kp_proc_run(argv, NULL, (struct kp_slice){"", 0}, 10, 65536, &out, &errors,
                                    &status, &ignored) < 0)
        return NULL;
    return kp_buf_steal(&out);
}

static bool next_key(struct kp_slice *rest, char *out, size_t size)
{
    struct kp_slice line, host;
    while (kp_slice_line(rest, &line)) {
        if (!line.len || line.ptr[0] == '#' || !kp_slice_cut(&line, ' ', &host) || line.len >= size)
            continue;
        memcpy(out, line.ptr, line.len);
        out[line.len] = '\0';
        return true;
    }
    return false;
}

static void choose_key(const struct kp_ssh_target *target, const char *offered, char *key,
                       size_t size)
{
    key[0] = '\0';
    if (offered) {
        snprintf(key, size, "%s", offered);
        return;
    }
    kp_auto_free char *keys = scan_keys(target);
    struct kp_slice rest = kp_slice_of(keys);
    char one[KP_HOST_KEY_MAX];
    while (keys && next_key(&rest, one, sizeof(one)))
        if (!key[0] || kp_starts_with(one, "ssh-ed25519 "))
            snprintf(key, size, "%s", one);
}

int kp_unknown_host_key(const struct kp_ssh_target *target, const char *offered, struct kp_err *err)
{
    char key[KP_HOST_KEY_MAX], fingerprint[64];
    kp_auto_free char *file = kp_known_hosts_path(target), *name = kp_known_hosts_name(target);
    choose_key(target, offered, key, sizeof(key));
    if (!key[0] || !kp_key_fingerprint(key, fingerprint, sizeof(fingerprint))) {
        kp_fail_as(err, KP_UNTRUSTED, "unknown_host_key",
                   "node %s: the host key of %s is not known", target->node, name);
        return kp_hint(err, "put it into the inventory (host_key) or %s", file);
    }
    kp_fail_as(err, KP_UNTRUSTED, "unknown_host_key",
               "node %s: the host key of %s is not known: %.*s %s", target->node, name,
               (int)strcspn(key, " "), key, fingerprint);
    return kp_hint(
        err, "compare the fingerprint at the node's console, then accept it: echo '%s %s' >> %s",
        name, key, file);
}

int kp_changed_host_key(const struct kp_ssh_target *target, const char *offered, struct kp_err *err)
{
    char key[KP_HOST_KEY_MAX], fingerprint[64] = "of unknown fingerprint";
    kp_auto_free char *file = kp_known_hosts_path(target), *name = kp_known_hosts_name(target);
    choose_key(target, offered, key, sizeof(key));
    kp_key_fingerprint(key, fingerprint, sizeof(fingerprint));
    kp_fail_as(err, KP_UNTRUSTED, "changed_host_key",
               "node %s: %s shows another host key than the one %s (%s): another machine, or "
               "somebody between",
               target->node, name, target->host_key ? "in the inventory" : "in known_hosts",
               fingerprint);
    if (target->host_key)
        return kp_hint(
            err, "where the node was set up anew, put its new key into the inventory (host_key)");
    return kp_hint(
        err, "where the node was set up anew: ssh-keygen -f %s -R '%s', then accept the new key",
        file, name);
}

#ifdef KP_HAVE_LIBSSH2
#include <libssh2.h>
static bool libssh2_is_good(void)
{
    // 1.10 has no strict key exchange and cannot use RSA user keys with SHA-2.
    return libssh2_version(0x010b01) != NULL;
}
#endif

int kp_transport_choose(const struct kp_ssh_target *target, const struct kp_transport_ops **out,
                        struct kp_err *err)
{
    bool plain = !target->jump && !target->config;
    *out = &kp_transport_openssh;
    if (target->transport == KP_TRANSPORT_OPENSSH)
        return 0;
#ifdef KP_HAVE_LIBSSH2
    if (target->transport == KP_TRANSPORT_LIBSSH2 && !plain)
        return kp_fail(err, KP_USAGE,
                       "node %s: jump hosts and ssh config files need the openssh transport",
                       target->node);
    if (target->transport == KP_TRANSPORT_LIBSSH2 || (plain && libssh2_is_good()))
        *out = &kp_transport_libssh2;
    return 0;
#else
    (void)plain;
    return target->transport == KP_TRANSPORT_LIBSSH2
               ? kp_fail(err, KP_USAGE, "this kinstall was built without libssh2")
               : 0;
#endif
}

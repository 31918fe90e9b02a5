/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libssh2 as a transport. A libssh2 session belongs to one thread at a time, so a thread of its own
 * pumps between the channel and three pipes. The only place that includes libssh2.h besides the
 * version check of transport.c.
 */
#include "install/session/transport.h"

#include "core/file.h"
#include "core/text.h"
#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <libssh2.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNEL_WINDOW (8u << 20)
#define PIECE ((size_t)262144)
#define PIPE_SIZE (1 << 20)
#define KEEPALIVE 15

struct ssh2 {
    int socket;
    LIBSSH2_SESSION *session;
    LIBSSH2_CHANNEL *channel;
    int in, out, err; /* the pump's ends of the pipes */
    pthread_t pump;
    bool pumping;
    char offered[KP_HOST_KEY_MAX]; /* the host key that was shown */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_library(void)
{
    if (libssh2_init(0) != 0)
        abort();
}

static int ssh_error(const struct ssh2 *s, const struct kp_ssh_target *target, const char *reason,
                     const char *doing, struct kp_err *err)
{
    char *text = NULL;
    int len = 0;
    libssh2_session_last_error(s->session, &text, &len, 0);
    return kp_fail_as(err, KP_FAILED, reason, "node %s: %s: %.*s", target->node, doing, len,
                      text ? text : "");
}

static void hang_up(struct ssh2 *s)
{
    if (s->channel)
        libssh2_channel_free(s->channel);
    if (s->session)
        libssh2_session_free(s->session);
    if (s->socket >= 0)
        close(s->socket);
    s->channel = NULL;
    s->session = NULL;
    s->socket = -1;
}

static int connect_socket(struct ssh2 *s, const struct kp_ssh_target *target, struct kp_err *err)
{
    struct kp_net_addresses addresses;
    double timeout = target->connect_timeout ? target->connect_timeout : 15;
    if (kp_net_resolve(&addresses, target->address, (uint16_t)target->port, NULL, err) < 0)
        return kp_wrap(err, "node %s", target->node);
    for (size_t i = 0; i < addresses.count; i++)
        if (kp_net_connect(&s->socket, &addresses.items[i], timeout, err) == 0)
            return 0;
    s->socket = -1;
    err->reason = "unreachable";
    kp_wrap(err, "node %s: no SSH connection", target->node);
    return kp_hint(err, "is the node up, is its address right, does sshd listen on port %u?",
                   target->port);
}

/* "ssh-ed25519 AAAA…" of the key that the node has shown; its type stands in the blob itself. */
static bool describe_host_key(struct ssh2 *s)
{
    size_t len;
    int type;
    const char *raw = libssh2_session_hostkey(s->session, &len, &type);
    if (!raw || len < 5 || len > KP_HOST_KEY_MAX / 2)
        return false;
    size_t name = (size_t)((uint8_t)raw[2] << 8 | (uint8_t)raw[3]);
    if (raw[0] || raw[1] || name + 4 > len || name > 64)
        return false;
    memcpy(s->offered, raw + 4, name);
    s->offered[name] = ' ';
    EVP_EncodeBlock((unsigned char *)s->offered + name + 1, (const unsigned char *)raw, (int)len);
    return true;
}

enum verdict { KEY_MATCHES, KEY_DIFFERS, KEY_UNKNOWN };

static enum verdict compare_inventory(const struct ssh2 *s, const char *known)
{
    size_t type = strcspn(known, " ");
    size_t len = type + 1 + (known[type] ? strcspn(known + type + 1, " ") : 0);
    bool same = strlen(s->offered) == len && memcmp(s->offered, known, len) == 0;
    return same ? KEY_MATCHES : KEY_DIFFERS;
}

static int key_bit(int type)
{
    switch (type) {
    case LIBSSH2_HOSTKEY_TYPE_RSA:
        return LIBSSH2_KNOWNHOST_KEY_SSHRSA;
    case LIBSSH2_HOSTKEY_TYPE_ECDSA_256:
        return LIBSSH2_KNOWNHOST_KEY_ECDSA_256;
    case LIBSSH2_HOSTKEY_TYPE_ECDSA_384:
        return LIBSSH2_KNOWNHOST_KEY_ECDSA_384;
    case LIBSSH2_HOSTKEY_TYPE_ECDSA_521:
        return LIBSSH2_KNOWNHOST_KEY_ECDSA_521;
    case LIBSSH2_HOSTKEY_TYPE_ED25519:
        return LIBSSH2_KNOWNHOST_KEY_ED25519;
    default:
        return LIBSSH2_KNOWNHOST_KEY_UNKNOWN;
    }
}

static enum verdict compare_known_hosts(const struct ssh2 *s, const struct kp_ssh_target *target)
{
    size_t len;
    int type;
    const char *key = libssh2_session_hostkey(s->session, &len, &type);
    kp_auto_free char *path = kp_known_hosts_path(target);
    LIBSSH2_KNOWNHOSTS *known = libssh2_knownhost_init(s->session);
    int found = LIBSSH2_KNOWNHOST_CHECK_NOTFOUND;
    int kind = LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | key_bit(type);
    // A file that is not there knows nobody.
    if (known && libssh2_knownhost_readfile(known, path, LIBSSH2_KNOWNHOST_FILE_OPENSSH) >= 0)
        found = libssh2_knownhost_checkp(known, target->address, (int)target->port, key, len, kind,
                                         NULL);
    if (known)
        libssh2_knownhost_free(known);
    return found == LIBSSH2_KNOWNHOST_CHECK_MATCH      ? KEY_MATCHES
           : found == LIBSSH2_KNOWNHOST_CHECK_MISMATCH ? KEY_DIFFERS
                                                       : KEY_UNKNOWN;
}

/* Those of the kinds that this libssh2 knows: to drop unknown ones itself, 1.10 copies over its own
 * feet. */
static char *supported(const struct ssh2 *s, const char *kinds)
{
    const char **known = NULL;
    int n = libssh2_session_supported_algs(s->session, LIBSSH2_METHOD_HOSTKEY, &known);
    kp_auto_value(kp_buf) out = KP_BUF(1024);
    for (const char *at = kinds; *at; at += at[0] == ',') {
        size_t len = strcspn(at, ",");
        for (int i = 0; i < n; i++)
            if (strlen(known[i]) == len && memcmp(known[i], at, len) == 0)
                kp_buf_addf(&out, "%s%.*s", out.len ? "," : "", (int)len, at);
        at += len;
    }
    if (known)
        libssh2_free(s->session, known);
    return kp_buf_steal(&out);
}

static int greet(struct ssh2 *s, const struct kp_ssh_target *target, const char *key_types,
                 struct kp_err *err)
{
    unsigned timeout = target->connect_timeout ? target->connect_timeout : 15;
    if (connect_socket(s, target, err) < 0)
        return -1;
    s->session = libssh2_session_init();
    if (!s->session)
        return kp_fail(err, KP_FAILED, "node %s: libssh2 does not start", target->node);
    libssh2_session_set_timeout(s->session, (long)timeout * 1000);
    kp_auto_free char *kinds = supported(s, key_types);
    if (!*kinds)
        return kp_fail_as(err, KP_FAILED, "ssh_failed",
                          "node %s: this libssh2 does not know host keys of type %s", target->node,
                          key_types);
    if (libssh2_session_method_pref(s->session, LIBSSH2_METHOD_HOSTKEY, kinds) != 0 ||
        libssh2_session_handshake(s->session, s->socket) != 0)
        return ssh_error(s, target, "ssh_failed", "SSH handshake", err);
    return describe_host_key(s) ? 0
                                : ssh_error(s, target, "ssh_failed", "the node's host key", err);
}

/* One attempt per kind of key: a node shows one key only, and known_hosts may have another kind. */
static int greet_known(struct ssh2 *s, const struct kp_ssh_target *target, struct kp_err *err)
{
    static const char *const kinds[] = {
        "ssh-ed25519", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521",
        "rsa-sha2-512,rsa-sha2-256,ssh-rsa"};
    char only[64] = "", first[KP_HOST_KEY_MAX] = "";
    if (target->host_key)
        snprintf(only, sizeof(only), "%s%.*s",
                 kp_starts_with(target->host_key, "ssh-rsa ") ? "rsa-sha2-512,rsa-sha2-256," : "",
                 (int)strcspn(target->host_key, " "), target->host_key);
    struct kp_err greeting = KP_ERR_INIT;
    for (size_t i = 0; i < (target->host_key ? 1 : KP_COUNT(kinds)); i++) {
        hang_up(s);
        if (greet(s, target, target->host_key ? only : kinds[i], &greeting) < 0) {
            // Without a connection other kinds will not help; without that kind of key they may.
            if (greeting.reason && strcmp(greeting.reason, "ssh_failed") != 0)
                break;
            continue;
        }
        enum verdict verdict = target->host_key ? compare_inventory(s, target->host_key)
                                                : compare_known_hosts(s, target);
        if (verdict == KEY_MATCHES)
            return 0;
        if (verdict == KEY_DIFFERS)
            return kp_changed_host_key(target, s->offered, err);
        if (!first[0])
            snprintf(first, sizeof(first), "%s", s->offered);
    }
    if (first[0])
        return kp_unknown_host_key(target, first, err);
    // A node that has no key of the kind that the inventory names cannot be that node.
    if (target->host_key && s->socket >= 0 && greeting.reason &&
        strcmp(greeting.reason, "ssh_failed") == 0 &&
        libssh2_session_last_errno(s->session) == LIBSSH2_ERROR_KEX_FAILURE)
        return kp_changed_host_key(target, NULL, err);
    *err = greeting;
    return -1;
}

static bool try_key(struct ssh2 *s, const struct kp_ssh_target *target, const char *path)
{
    return libssh2_userauth_publickey_fromfile_ex(
               s->session, target->user, (unsigned)strlen(target->user), NULL, path, NULL) == 0;
}

static bool try_agent(struct ssh2 *s, const struct kp_ssh_target *target)
{
    LIBSSH2_AGENT *agent = getenv("SSH_AUTH_SOCK") ? libssh2_agent_init(s->session) : NULL;
    struct libssh2_agent_publickey *key = NULL, *previous = NULL;
    bool accepted = false;
    if (!agent)
        return false;
    if (libssh2_agent_connect(agent) == 0 && libssh2_agent_list_identities(agent) == 0)
        while (!accepted && libssh2_agent_get_identity(agent, &key, previous) == 0) {
            accepted = libssh2_agent_userauth(agent, target->user, key) == 0;
            previous = key;
        }
    libssh2_agent_disconnect(agent);
    libssh2_agent_free(agent);
    return accepted;
}

static int log_in(struct ssh2 *s, const struct kp_ssh_target *target, struct kp_err *err)
{
    static const char *const defaults[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"};
    kp_auto_free char *key = target->key ? kp_path_expand(target->key) : NULL;
    if (key && !kp_file_exists(key))
        return kp_fail(err, KP_USAGE, "node %s: there is no key file %s", target->node, key);
    if (key ? try_key(s, target, key) : try_agent(s, target))
        return 0;
    for (size_t i = 0; !key && i < KP_COUNT(defaults); i++) {
        kp_auto_free char *path = kp_path_expand(defaults[i]);
        if (kp_file_exists(path) && try_key(s, target, path))
            return 0;
    }
    kp_fail_as(err, KP_FAILED, "permission_denied", "node %s: %s@%s: no key was accepted",
               target->node, target->user, target->address);
    return kp_hint(err,
                   "name the key in the inventory (ssh: key); libssh2 %s cannot use every kind of "
                   "key: ssh: {transport: "
                   "openssh} can",
                   libssh2_version(0));
}

static int begin_command(struct ssh2 *s, const struct kp_ssh_target *target, const char *command,
                         struct kp_err *err)
{
    s->channel = libssh2_channel_open_ex(s->session, "session", 7, CHANNEL_WINDOW,
                                         LIBSSH2_CHANNEL_PACKET_DEFAULT, NULL, 0);
    if (!s->channel || libssh2_channel_exec(s->channel, command) != 0)
        return ssh_error(s, target, "ssh_failed", "begin the remote command", err);
    libssh2_keepalive_config(s->session, 0, KEEPALIVE);
    libssh2_session_set_blocking(s->session, 0);
    return 0;
}

struct pumping {
    struct ssh2 *ssh;
    char *up; /* from the pipe, being written to the channel: same pointer, same length until it is
                 taken */
    size_t up_len, up_at;
    char *down;
    bool ended, eof_sent;
};

static bool write_pipe(int fd, const char *data, size_t len)
{
    struct kp_err ignored;
    return kp_write_full(fd, data, len, &ignored) == 0;
}

// Channel to pipe; false where nothing came.
static bool pump_down(struct pumping *p, int stream, int fd)
{
    ssize_t n = libssh2_channel_read_ex(p->ssh->channel, stream, p->down, PIECE);
    if (n == LIBSSH2_ERROR_EAGAIN || n == 0)
        return false;
    if (n < 0 || !write_pipe(fd, p->down, (size_t)n))
        p->ended = true;
    return n > 0;
}

static bool pump_up(struct pumping *p, bool readable)
{
    struct ssh2 *s = p->ssh;
    if (p->up_at == p->up_len && readable && s->in >= 0) {
        ssize_t n = read(s->in, p->up, PIECE);
        p->up_at = 0;
        p->up_len = n > 0 ? (size_t)n : 0;
        if (n == 0) {
            close(s->in);
            s->in = -1;
        }
    }
    if (s->in < 0 && !p->eof_sent && p->up_at == p->up_len)
        p->eof_sent = libssh2_channel_send_eof(s->channel) != LIBSSH2_ERROR_EAGAIN;
    if (p->up_at == p->up_len)
        return false;
    ssize_t n = libssh2_channel_write_ex(s->channel, 0, p->up + p->up_at, p->up_len - p->up_at);
    if (n == LIBSSH2_ERROR_EAGAIN)
        return false;
    p->ended = p->ended || n < 0;
    p->up_at += n > 0 ? (size_t)n : 0;
    return n > 0;
}

static void wait_for_work(struct pumping *p, bool *readable)
{
    struct ssh2 *s = p->ssh;
    bool want_up = p->up_at == p->up_len;
    short events = POLLIN;
    if (libssh2_session_block_directions(s->session) & LIBSSH2_SESSION_BLOCK_OUTBOUND)
        events |= POLLOUT;
    struct pollfd fds[2] = {{s->socket, events, 0}, {want_up ? s->in : -1, POLLIN, 0}};
    int next = KEEPALIVE;
    if (libssh2_keepalive_send(s->session, &next) < 0)
        p->ended = true;
    poll(fds, 2, (next > 0 ? next : 1) * 1000);
    *readable = fds[1].revents != 0;
}

static void *pump(void *user)
{
    struct ssh2 *s = user;
    struct pumping p = {.ssh = s, .up = kp_alloc(PIECE), .down = kp_alloc(PIECE)};
    for (bool readable = false; !p.ended;) {
        bool busy = pump_down(&p, 0, s->out);
        busy = pump_down(&p, SSH_EXTENDED_DATA_STDERR, s->err) || busy;
        busy = pump_up(&p, readable) || busy;
        readable = false;
        if (!busy && libssh2_channel_eof(s->channel))
            break;
        if (!busy)
            wait_for_work(&p, &readable);
    }
    explicit_bzero(p.up, PIECE);
    kp_free(p.up);
    kp_free(p.down);
    // The other ends see the end now; the rest is for close.
    close(s->out);
    close(s->err);
    s->out = s->err = -1;
    if (s->in >= 0)
        close(s->in);
    s->in = -1;
    return NULL;
}

static int start_pump(struct kp_transport *t, struct ssh2 *s, struct kp_err *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, errors[2] = {-1, -1};
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0)
        return kp_fail_sys(err, errno, "pipe");
    // Larger pipes are a favour, not a need.
    (void)fcntl(in[1], F_SETPIPE_SZ, PIPE_SIZE);
    (void)fcntl(out[1], F_SETPIPE_SZ, PIPE_SIZE);
    s->in = in[0];
    s->out = out[1];
    s->err = errors[1];
    t->in = in[1];
    t->out = out[0];
    t->err = errors[0];
    int failed = pthread_create(&s->pump, NULL, pump, s);
    s->pumping = failed == 0;
    return failed ? kp_fail_sys(err, failed, "start a thread") : 0;
}

static int ssh2_open(struct kp_transport *t, const struct kp_ssh_target *target,
                     const char *command, struct kp_err *err)
{
    struct ssh2 *s = kp_alloc(sizeof(*s));
    *s = (struct ssh2){.socket = -1, .in = -1, .out = -1, .err = -1};
    t->state = s;
    t->in = t->out = t->err = -1;
    pthread_once(&once, start_library);
    if (greet_known(s, target, err) < 0 || log_in(s, target, err) < 0 ||
        begin_command(s, target, command, err) < 0)
        return -1;
    return start_pump(t, s, err);
}

static int ssh2_explain(struct kp_transport *t, const struct kp_ssh_target *target,
                        struct kp_slice said, struct kp_err *err)
{
    struct kp_slice rest = kp_slice_trim(said), line, last = {"", 0};
    (void)t;
    while (kp_slice_line(&rest, &line))
        last = line;
    return kp_fail_as(err, KP_FAILED, "ssh_failed", "node %s: the connection ended%s%.*s",
                      target->node, last.len ? ": " : "", (int)last.len, last.ptr);
}

static void ssh2_abort(struct kp_transport *t)
{
    struct ssh2 *s = t->state;
    // Wakes the pump from its poll and fails its reads.
    if (s && s->socket >= 0)
        shutdown(s->socket, SHUT_RDWR);
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void ssh2_close(struct kp_transport *t)
{
    struct ssh2 *s = t->state;
    if (!s)
        return;
    // First the ends that the pump may be blocked on.
    close_end(&t->out);
    close_end(&t->err);
    close_end(&t->in);
    if (s->pumping)
        pthread_join(s->pump, NULL);
    close_end(&s->in);
    close_end(&s->out);
    close_end(&s->err);
    hang_up(s);
    kp_free(s);
    t->state = NULL;
}

const struct kp_transport_ops kp_transport_libssh2 = {"libssh2", ssh2_open, ssh2_explain,
                                                      ssh2_abort, ssh2_close};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From nothing to knode's hello, over one channel: the remote shell says its machine type, takes
 * the digest, takes the program where it is not there yet, and becomes knode. Where kinstall has no
 * bundle, "any" stands for the digest: the newest knode that is there.
 */
#include "bundle/medium.h"
#include "install/session/session_internal.h"

#include "core/gzip.h"
#include "core/interrupt.h"
#include "core/text.h"
#include "core/zst.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDER "/usr/local/libexec/kpack"
#define PROGRAM_MAX ((size_t)64 << 20)
#define PATIENCE 20.0 /* seconds for login, sudo and each answer, beyond the time to connect */
#define SEND_PATIENCE 120.0 /* seconds in which a piece of the program must get through */

/* Fixed; the nonce is its only argument. No single quote, exclamation mark or line end in it: csh
 * and fish must take it as sh does. head -c takes no byte more than it is told. */
static const char place_script[] =
    "umask 022; d=" FOLDER "; echo \"kpack-place/1 $1 $(uname -m) $(id -u) $(command -v gzip)\"; "
    "IFS= read -r h || exit 90; f=$d/knode-$h; "
    "if [ \"$h\" = any ]; then f=$(ls -t \"$d\"/knode-* | head -n 1); "
    "[ -f \"$f\" ] && [ -O \"$f\" ] || { echo \"kpack-none $1\"; exit 93; }; "
    "echo \"kpack-have $1\"; "
    "elif [ -f \"$f\" ] && [ -x \"$f\" ] && [ -O \"$f\" ] && [ \"$(sha256sum < \"$f\")\" = \"$h  "
    "-\" "
    "]; "
    "then echo \"kpack-have $1\"; "
    "else echo \"kpack-need $1\"; IFS=\" \" read -r n how || exit 90; "
    "if [ \"$how\" = gunzip ]; then how=\"gzip -dc\"; else how=cat; fi; "
    "mkdir -p \"$d\" && t=$(mktemp \"$d/.knode.XXXXXX\") && head -c \"$n\" | $how > \"$t\" && "
    "[ \"$(sha256sum < \"$t\")\" = \"$h  -\" ] && chmod 0755 \"$t\" && mv -f \"$t\" \"$f\" || "
    "{ echo \"kpack-failed $1\"; rm -f \"$t\"; exit 92; }; fi; "
    "exec \"$f\" serve \"$1\"";

struct handshake {
    struct kp_session *session;
    const struct kp_ssh_target *target;
    char nonce[KP_NONCE_HEX + 1], prompt[KP_NONCE_HEX + 1];
    struct kp_buf out; /* received and not yet understood: noise or answers */
    size_t noise;      /* bytes discarded so far */
    bool password_sent;
    double deadline;
};

static void make_nonce(char out[KP_NONCE_HEX + 1])
{
    uint8_t raw[KP_NONCE_HEX / 2];
    // Without randomness there is no telling answers from noise.
    if (RAND_bytes(raw, sizeof(raw)) != 1)
        abort();
    kp_hex(out, raw, sizeof(raw));
}

static char *remote_command(const struct handshake *h)
{
    const char *sudo = "";
    kp_auto_free char *with_password = kp_asprintf("env LC_ALL=C sudo -S -p %s -- ", h->prompt);
    if (h->target->sudo)
        sudo = h->target->sudo_password ? with_password : "env LC_ALL=C sudo -n -- ";
    return kp_asprintf("exec %s/bin/sh -c '%s' kpack %s", sudo, place_script, h->nonce);
}

static bool said(const struct handshake *h, const char *words)
{
    const struct kp_buf *text = &h->session->said;
    return text->len && memmem(text->data, text->len, words, strlen(words));
}

static int sudo_error(const struct handshake *h, const char *reason, const char *what,
                      const char *hint, struct kp_err *err)
{
    kp_fail_as(err, KP_FAILED, reason, "node %s: sudo on the node: %s", h->target->node, what);
    return kp_hint(err, "%s", hint);
}

/* sudo's own words, LC_ALL=C; 0 where none of them was said. */
static int explain_sudo(const struct handshake *h, struct kp_err *err)
{
    const char *user = h->target->user;
    char what[256];
    if (!h->target->sudo)
        return 0;
    if (said(h, "incorrect password attempt") || said(h, "Sorry, try again"))
        return sudo_error(h, "sudo_wrong_password", "the password is wrong",
                          "run again and give the right one", err);
    if (said(h, "a password is required")) {
        snprintf(what, sizeof(what), "%s needs a password", user);
        return sudo_error(h, "sudo_password_needed", what,
                          "set ssh: {sudo: password} in the inventory, or allow NOPASSWD", err);
    }
    if (said(h, "is not in the sudoers file") || said(h, "may not run sudo") ||
        said(h, "is not allowed to")) {
        snprintf(what, sizeof(what), "%s may not use it", user);
        return sudo_error(h, "sudo_denied", what,
                          "put the user into the node's sudoers, or log in as root", err);
    }
    if (said(h, "must have a tty"))
        return sudo_error(h, "sudo_requiretty", "it wants a terminal",
                          "remove \"Defaults requiretty\" from the node's sudoers", err);
    if (said(h, "'sudo': No such file") || said(h, "sudo: not found") ||
        said(h, "sudo: No such file"))
        return sudo_error(h, "no_sudo", "it is not installed",
                          "install sudo on the node, or log in as root", err);
    return 0;
}

static int explain_end(struct handshake *h, struct kp_err *err)
{
    struct kp_session *s = h->session;
    if (explain_sudo(h, err) < 0)
        return -1;
    struct kp_slice rest = kp_slice_trim(kp_buf_slice(&s->said)), line = {"", 0};
    // The shell speaks by the name it was given: "kpack: 1: exec: …".
    if (said(h, "kpack: ")) {
        struct kp_slice last = line;
        while (kp_slice_line(&rest, &line))
            last = line;
        kp_fail_as(err, KP_FAILED, "place_failed", "node %s: knode could not be started: %.*s",
                   h->target->node, (int)last.len, last.ptr);
        return kp_hint(err, "is %s on a file system that allows programs (no noexec)?", FOLDER);
    }
    return s->transport.ops->explain(&s->transport, h->target, kp_buf_slice(&s->said), err);
}

static int write_all(struct handshake *h, const char *data, size_t len, struct kp_err *err)
{
    struct kp_session *s = h->session;
    double deadline = kp_now() + SEND_PATIENCE;
    while (len) {
        struct pollfd ready = {.fd = s->transport.in, .events = POLLOUT};
        if (poll(&ready, 1, 1000) == 0) {
            if (kp_interrupt_check(err) < 0)
                return -1;
            if (kp_now() > deadline)
                return kp_fail_as(err, KP_FAILED, "timeout", "node %s: takes nothing",
                                  h->target->node);
            continue;
        }
        // At most PIPE_BUF: such a write does not wait where poll said that there is room.
        ssize_t n = write(s->transport.in, data, len < 4096 ? len : 4096);
        if (n < 0 && errno != EINTR)
            return explain_end(h, err);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
            deadline = kp_now() + SEND_PATIENCE;
        }
    }
    return 0;
}

static size_t count_prompts(const struct handshake *h)
{
    struct kp_slice text = kp_buf_slice(&h->session->said);
    size_t n = 0;
    for (;; n++) {
        const char *at = memmem(text.ptr, text.len, h->prompt, KP_NONCE_HEX);
        if (!at)
            return n;
        text.len -= (size_t)(at + KP_NONCE_HEX - text.ptr);
        text.ptr = at + KP_NONCE_HEX;
    }
}

static int answer_prompt(struct handshake *h, struct kp_err *err)
{
    size_t prompts = h->target->sudo && h->target->sudo_password ? count_prompts(h) : 0;
    if (prompts > 1)
        return sudo_error(h, "sudo_wrong_password", "the password is wrong",
                          "run again and give the right one", err);
    if (prompts == 0 || h->password_sent)
        return 0;
    h->password_sent = true;
    kp_auto_value(kp_buf) line = KP_BUF_SECRET(KP_SECRET_MAX + 1);
    kp_buf_adds(&line, h->target->sudo_password);
    kp_buf_add(&line, "\n", 1);
    return line.overflow
               ? kp_fail(err, KP_USAGE, "node %s: the password is too long", h->target->node)
               : write_all(h, line.data, line.len, err);
}

static int drop_noise(struct handshake *h, struct kp_err *err)
{
    // A marker cut in two must survive: the last piece stays.
    const size_t keep = 256;
    if (h->out.len > 4 * KP_FRAME_MAX - KP_FRAME_MAX || h->noise + h->out.len > KP_NOISE_MAX) {
        kp_fail_as(err, KP_FAILED, "noise",
                   "node %s: more than %zu bytes of text came from the login instead of an answer",
                   h->target->node, KP_NOISE_MAX);
        return kp_hint(err, "make the user's login scripts silent for non-interactive shells");
    }
    if (h->out.len > keep) {
        h->noise += h->out.len - keep;
        kp_buf_consume(&h->out, h->out.len - keep);
    }
    return 0;
}

/* Waits until one of the words came; *which says which. Bytes behind its line stay in h->out. */
static int wait_for(struct handshake *h, const char *const *words, size_t n, size_t *which,
                    char *rest, size_t size, struct kp_err *err)
{
    for (;;) {
        char block[16384];
        size_t used, got;
        struct kp_slice found;
        bool end;
        for (size_t i = 0; i < n; i++) {
            if (!kp_marker_find(kp_buf_slice(&h->out), words[i], h->nonce, &found, &used))
                continue;
            snprintf(rest, size, "%.*s", (int)found.len, found.ptr);
            kp_buf_consume(&h->out, used);
            *which = i;
            return 0;
        }
        if (drop_noise(h, err) < 0 ||
            kp_session_receive(h->session, block, sizeof(block), h->deadline, &got, &end, err) < 0)
            return -1;
        kp_buf_add(&h->out, block, got);
        if (kp_interrupt_check(err) < 0 || answer_prompt(h, err) < 0)
            return -1;
        if (end) {
            // The words on stderr may come a moment after the end of out.
            struct kp_err ignored;
            double until = kp_now() + 1;
            while (h->session->transport.err >= 0 && kp_now() < until) {
                struct pollfd more = {.fd = h->session->transport.err, .events = POLLIN};
                int out = h->session->transport.out;
                if (poll(&more, 1, 200) <= 0)
                    continue;
                h->session->transport.out = -1;
                (void)!kp_session_receive(h->session, block, sizeof(block), until, &got, &end,
                                          &ignored);
                h->session->transport.out = out;
            }
            return explain_end(h, err);
        }
    }
}

static int unpack(void *user, const void *data, size_t len, struct kp_err *err)
{
    return kp_buf_add(user, data, len)
               ? 0
               : kp_fail_as(err, KP_DAMAGED, "too_large", "knode is too large");
}

/* What a site keeps of a bundle that it has no more: there is no program to send. */
static bool is_front_only(const struct kp_bundle *bundle)
{
    return kp_medium_size(kp_bundle_medium(bundle)) < kp_bundle_size(bundle);
}

static int load_program(const struct kp_session *s, const struct kp_file *file, struct kp_buf *out,
                        struct kp_err *err)
{
    kp_auto_free char *packed = NULL;
    size_t len;
    struct kp_digest digest;
    kp_auto(kp_unzst) stream = kp_unzst_new(file->size, 27, unpack, out);
    if (kp_bundle_load(s->bundle.bundle, &file->blob, PROGRAM_MAX, &packed, &len, err) < 0 ||
        kp_unzst_feed(stream, packed, len, err) < 0 || kp_unzst_finish(stream, err) < 0)
        return kp_wrap(err, "knode for %s", file->arch);
    kp_sha256(out->data, out->len, &digest);
    if (!kp_digest_equal(&digest, &file->sha256))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "knode for %s is not what was signed",
                          file->arch);
    return 0;
}

static const char *arch_of(const char *machine)
{
    static const struct {
        const char *machine, *arch;
    } table[] = {{"x86_64", "amd64"},
                 {"aarch64", "arm64"},
                 {"ppc64le", "ppc64le"},
                 {"s390x", "s390x"},
                 {"riscv64", "riscv64"}};
    for (size_t i = 0; i < KP_COUNT(table); i++)
        if (strcmp(machine, table[i].machine) == 0)
            return table[i].arch;
    return NULL;
}

/* "x86_64 0 /usr/bin/gzip": finds the arch and its knode. */
static int choose_program(struct handshake *h, const char *words, const struct kp_file **out,
                          bool *gzip, struct kp_err *err)
{
    char machine[64], uid[16], program[8];
    const struct kp_ssh_target *t = h->target;
    int n = sscanf(words, "%63s %15s %7s", machine, uid, program);
    *gzip = n == 3;
    if (n < 2)
        return kp_fail(err, KP_FAILED, "node %s: has neither uname nor id", t->node);
    if (strcmp(uid, "0") != 0) {
        kp_fail_as(err, KP_FAILED, "not_root", "node %s: %s is not root, and sudo is not asked for",
                   t->node, t->user);
        return kp_hint(err, "set ssh: {sudo: true} or {sudo: password} in the inventory");
    }
    const char *arch = arch_of(machine);
    if (!arch)
        return kp_fail_as(err, KP_MISSING, "no_arch", "node %s: machine type \"%s\" is not known",
                          t->node, machine);
    snprintf(h->session->arch, sizeof(h->session->arch), "%s", arch);
    if (!h->session->bundle.bundle)
        return 0;
    *out = kp_manifest_file(kp_bundle_manifest(h->session->bundle.bundle), "knode", arch);
    if (!*out) {
        kp_fail_as(err, KP_MISSING, "no_arch", "node %s: the bundle has no knode for %s", t->node,
                   arch);
        return kp_hint(err, "make the bundle with --arch %s", arch);
    }
    return 0;
}

/* Half of what a small bundle costs the admin host's line beyond itself would be knode, plain. */
static int send_program(struct handshake *h, const struct kp_file *file, bool gzip,
                        struct kp_err *err)
{
    kp_auto_value(kp_buf) program = KP_BUF(PROGRAM_MAX), packed = KP_BUF(PROGRAM_MAX);
    if (load_program(h->session, file, &program, err) < 0 ||
        (gzip && kp_gzip(kp_buf_slice(&program), &packed, err) < 0))
        return -1;
    const struct kp_buf *sent = gzip ? &packed : &program;
    char line[64];
    snprintf(line, sizeof(line), "%zu %s\n", sent->len, gzip ? "gunzip" : "cat");
    return write_all(h, line, strlen(line), err) < 0 ? -1
                                                     : write_all(h, sent->data, sent->len, err);
}

static int place(struct handshake *h, struct kp_err *err)
{
    static const char *const first[] = {"kpack-place/1"},
                             *const second[] = {"kpack-have", "kpack-need", "kpack-none"},
                             *const third[] = {"kpack-knode/1", "kpack-failed"};
    char rest[256], line[128];
    size_t which = 0;
    const struct kp_file *file = NULL;
    bool gzip = false;
    if (wait_for(h, first, 1, &which, rest, sizeof(rest), err) < 0 ||
        choose_program(h, rest, &file, &gzip, err) < 0)
        return -1;
    snprintf(line, sizeof(line), "%s\n", file ? kp_digest_hex(&file->sha256).hex : "any");
    h->deadline = kp_now() + PATIENCE;
    if (write_all(h, line, strlen(line), err) < 0 ||
        wait_for(h, second, KP_COUNT(second), &which, rest, sizeof(rest), err) < 0)
        return -1;
    if (which == 2 || (which == 1 && (!file || is_front_only(h->session->bundle.bundle)))) {
        kp_fail_as(err, KP_MISSING, "no_knode", "node %s: no knode is there", h->target->node);
        return kp_hint(err, "nothing was installed there yet, or it was reset; give --bundle");
    }
    if (which == 1 && send_program(h, file, gzip, err) < 0)
        return -1;
    h->deadline = kp_now() + (which == 1 ? SEND_PATIENCE : PATIENCE);
    if (wait_for(h, third, 2, &which, rest, sizeof(rest), err) < 0)
        return -1;
    if (which == 0)
        return 0;
    struct kp_slice words = kp_slice_trim(kp_buf_slice(&h->session->said)), last = {"", 0}, one;
    while (kp_slice_line(&words, &one))
        last = one;
    return kp_fail_as(err, KP_FAILED, "place_failed",
                      "node %s: knode could not be placed in %s: %.*s", h->target->node, FOLDER,
                      (int)last.len, last.ptr);
}

int kp_session_shake_hands(struct kp_session *s, struct kp_err *err)
{
    struct handshake h = {.session = s, .target = &s->target};
    h.out = KP_BUF(4 * KP_FRAME_MAX);
    make_nonce(h.nonce);
    make_nonce(h.prompt);
    kp_auto_free char *command = remote_command(&h);
    const struct kp_transport_ops *ops = NULL;
    if (kp_transport_choose(&s->target, &ops, err) < 0)
        return -1;
    s->transport.ops = ops;
    h.deadline = kp_now() + (s->target.connect_timeout ? s->target.connect_timeout : 15) + PATIENCE;
    int failed = ops->open(&s->transport, &s->target, command, err);
    if (failed == 0)
        failed = place(&h, err);
    // What came behind the hello is frames already.
    if (failed == 0 && h.out.len) {
        memcpy(kp_decoder_room(&s->decoder, h.out.len), h.out.data, h.out.len);
        kp_decoder_added(&s->decoder, h.out.len);
    }
    kp_buf_release(&h.out);
    return failed;
}

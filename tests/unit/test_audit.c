/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log as kinstall keeps and reads it, and what of an audit needs no node. */
#include "bundle/sign.h"
#include "bundle/trust_list.h"
#include "core/file.h"
#include "install/audit/audit.h"
#include "install/audit/audit_acknowledge.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define NODE_FOLDER "/var/lib/kpack"

struct site {
    char folder[40];
    char *state, *node_log;
    struct kp_key *key;
    struct kp_chain *node; /* the node's own log */
    char *pem;
};

static int sign_line(void *user, struct kp_slice line, const char **member, json_t **value,
                     struct kp_err *err)
{
    const struct site *s = user;
    struct kp_signature signature;
    char hex[2 * KP_ED25519_SIGNATURE + 1];
    if (kp_sign(s->key, line, &signature, err) < 0)
        return -1;
    kp_hex(hex, signature.bytes, sizeof(signature.bytes));
    *member = "signature";
    *value = json_string(hex);
    return 0;
}

static void site_open(struct site *s)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest id;
    struct kp_chain_state state;
    *s = (struct site){.folder = "/tmp/kpack-audit-XXXXXX"};
    cr_assert_not_null(mkdtemp(s->folder));
    s->state = kp_path_join(s->folder, "demo.state");
    s->node_log = kp_path_join(s->folder, "placed.jsonl");
    kp_auto_free char *key = kp_path_join(s->folder, "node.key");
    cr_assert_eq(kp_mkdirs(s->state, 0700, &err), 0);
    cr_assert_eq(kp_key_generate(s->folder, "node", &id, &err), 0, "%s", err.message);
    cr_assert_eq(kp_key_load(&s->key, key, NULL, &err), 0, "%s", err.message);
    s->pem = kp_key_public_pem(s->key);
    cr_assert_eq(kp_chain_open(&s->node, s->node_log, NULL, NULL, &state, &err), 0);
}

static void site_close(struct site *s)
{
    kp_chain_free(s->node);
    kp_key_free(s->key);
    cr_assert_eq(kp_remove_tree(s->folder, NULL), 0);
    kp_free(s->state);
    kp_free(s->node_log);
    kp_free(s->pem);
}

/* A line as the node would write and sign it; kp_free. */
static char *node_line(struct site *s, const char *op, const char *path, const char *sha256)
{
    char *line = NULL;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_json record =
        json_pack("{s:s, s:s, s:s, s:s*, s:s, s:i, s:i}", "kind", "kpack.placed/v1", "op", op,
                  "path", path, "sha256", sha256, "mode", "0644", "uid", 0, "gid", 0);
    cr_assert_eq(kp_chain_append(s->node, record, sign_line, s, &line, &err), 0, "%s", err.message);
    return line;
}

static struct kp_audit_log *open_log(struct site *s)
{
    struct kp_audit_log *log = NULL;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *note = NULL;
    cr_assert_eq(kp_audit_log_open(&log, s->state, "run1", &note, &err), 0, "%s", err.message);
    return log;
}

static void add(struct kp_audit_log *log, const char *type, json_t *members)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_audit_log_add(log, type, members, &err), 0, "%s", err.message);
}

static void add_placed(struct kp_audit_log *log, const char *line)
{
    add(log, "placed", json_pack("{s:s, s:s}", "node", "cp1", "placed", line));
}

static struct kp_audit_book read_book(struct site *s)
{
    struct kp_audit_book book = {0};
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_audit_book_read(&book, s->state, true, &err), 0, "%s", err.message);
    return book;
}

static const json_t *file_of(const struct kp_audit_book *book, const char *path)
{
    const json_t *node = json_object_get(book->nodes, "cp1");
    return json_object_get(json_object_get(node, "files"), path);
}

Test(audit, what_was_placed_and_what_was_taken_away)
{
    struct site s;
    struct kp_err err = KP_ERR_INIT;
    site_open(&s);
    {
        kp_auto(kp_audit_log) log = open_log(&s);
        kp_auto_free char *one = node_line(&s, "put", "/etc/a/x", "11");
        kp_auto_free char *two = node_line(&s, "put", "/etc/a2", "22");
        kp_auto_free char *gone = node_line(&s, "remove", "/etc/a", NULL);
        add(log, "run", json_pack("{s:s}", "who", "ann@admin"));
        add(log, "node", json_pack("{s:s, s:s}", "node", "cp1", "key", s.pem));
        add_placed(log, one);
        add_placed(log, two);
        add_placed(log, gone);
        add(log, "end", json_pack("{s:s}", "result", "done"));
        cr_assert_eq(kp_audit_log_keep_head(log, &err), 0);
    }
    kp_auto_value(kp_audit_book) book = read_book(&s);
    cr_assert_eq(book.chain.head.count, 6);
    cr_assert_eq(book.chain.problem_count + json_array_size(book.problems), 0);
    cr_assert(!book.cut);
    cr_assert_null(file_of(&book, "/etc/a/x"));
    cr_assert_not_null(file_of(&book, "/etc/a2"));
    const json_t *run = json_array_get(book.runs, 0);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(run, "end"), "result")),
                     "done");
    site_close(&s);
}

Test(audit, a_run_ends_once)
{
    struct site s;
    struct kp_err err = KP_ERR_INIT;
    site_open(&s);
    {
        kp_auto(kp_audit_log) log = open_log(&s);
        add(log, "run", json_pack("{s:s}", "who", "ann@admin"));
        cr_assert_eq(kp_audit_log_end(log, "not confirmed", &err), 0, "%s", err.message);
        cr_assert_eq(kp_audit_log_end(log, NULL, &err), 0, "%s", err.message);
    }
    kp_auto_value(kp_audit_book) book = read_book(&s);
    cr_assert_eq(book.chain.head.count, 2);
    const json_t *end = json_object_get(json_array_get(book.runs, 0), "end");
    cr_assert_str_eq(json_string_value(json_object_get(end, "result")), "stopped");
    cr_assert_str_eq(json_string_value(json_object_get(end, "text")), "not confirmed");
    site_close(&s);
}

Test(audit, lines_of_a_node_that_are_not_its_own_are_named)
{
    static const char *const cases[] = {"signature", "content", "gap", "twice"};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct site s;
        site_open(&s);
        {
            kp_auto(kp_audit_log) log = open_log(&s);
            kp_auto_free char *one = node_line(&s, "put", "/etc/a", "11");
            kp_auto_free char *two = node_line(&s, "put", "/etc/b", "22");
            add(log, "node", json_pack("{s:s, s:s}", "node", "cp1", "key", s.pem));
            if (i == 0)
                one[strlen(one) - 3] = one[strlen(one) - 3] == '0' ? '1' : '0';
            if (i == 1)
                memcpy(strstr(one, "\"11\""), "\"12\"", 4);
            if (i == 2)
                add_placed(log, two);
            else
                add_placed(log, one);
            if (i == 3)
                add_placed(log, one);
        }
        kp_auto_value(kp_audit_book) book = read_book(&s);
        cr_assert_geq(json_array_size(book.problems), 1, "%s", cases[i]);
        // The log's own chain is whole: only the node's word shows it.
        cr_assert_eq(book.chain.problem_count, 0, "%s", cases[i]);
        site_close(&s);
    }
}

Test(audit, a_cut_log_is_known_by_its_head)
{
    struct site s;
    struct kp_err err = KP_ERR_INIT;
    site_open(&s);
    kp_auto_free char *path = kp_path_join(s.state, KP_AUDIT_FILE), *text = NULL;
    size_t len;
    {
        kp_auto(kp_audit_log) log = open_log(&s);
        for (int i = 0; i < 4; i++)
            add(log, "run", json_pack("{s:i}", "i", i));
        cr_assert_eq(kp_audit_log_keep_head(log, &err), 0);
    }
    cr_assert_eq(kp_file_read(path, 65536, &text, &len, &err), 0);
    char *last = memrchr(text, '\n', len - 1);
    struct kp_slice shorter = {text, (size_t)(last + 1 - text)};
    cr_assert_eq(kp_file_write_atomic(path, shorter, 0600, &err), 0);
    kp_auto_value(kp_audit_book) cut = read_book(&s);
    cr_assert(cut.cut);
    cr_assert_eq(cut.chain.problem_count, 0);
    // The last line edited: no line behind it, but the head.
    *strstr(last, "\"i\":3") = '"';
    strstr(last, "\"i\":3")[4] = '9';
    cr_assert_eq(kp_file_write_atomic(path, (struct kp_slice){text, len}, 0600, &err), 0);
    kp_auto_value(kp_audit_book) edited = read_book(&s);
    cr_assert(edited.cut);
    site_close(&s);
}

static size_t compare(const char *kind, const char *sum, const char *mode, int uid)
{
    kp_auto_json list = json_array();
    kp_auto_json wanted = json_pack("{s:s, s:s, s:s, s:i, s:i}", "path", "/etc/x", "sha256", "aa",
                                    "mode", "0644", "uid", 0, "gid", 0);
    kp_auto_json found = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "path", "/etc/x", "kind", kind,
                                   "sha256", sum, "mode", mode, "uid", uid, "gid", 0);
    kp_audit_compare(list, wanted, NULL, found);
    return json_array_size(list);
}

Test(audit, files_that_differ)
{
    cr_assert_eq(compare("file", "aa", "0644", 0), 0);
    cr_assert_eq(compare("file", "ab", "0644", 0), 1);
    cr_assert_eq(compare("file", "aa", "4644", 0), 1);
    cr_assert_eq(compare("file", "aa", "0644", 7), 1);
    cr_assert_eq(compare("file", "ab", "0600", 7), 3);
    cr_assert_eq(compare("link", "aa", "0644", 0), 1);
    cr_assert_eq(compare("missing", "", "", 0), 1);
    // What was signed counts, whatever the log says.
    kp_auto_json list = json_array();
    struct kp_digest other = {{1}};
    kp_auto_json file = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i}", "path", "/x", "kind", "file",
                                  "sha256", "aa", "mode", "0755", "uid", 0, "gid", 0);
    kp_audit_compare(list, file, &other, file);
    cr_assert_eq(json_array_size(list), 1);
}

Test(audit, paths_that_matter)
{
    static const char *const watched[] = {
        "/etc/systemd/system/kubelet.service",
        "/etc/systemd/system/kubelet.service.d/99-x.conf",
        "/run/systemd/system/containerd.service.d/x.conf",
        "/usr/lib/systemd/system/kregistry.service.d/x.conf",
        "/etc/systemd/system.control/kubelet.service.d/50-x.conf",
        "/etc/systemd/system/service.d/x.conf",
        "/etc/systemd/system/kpack-init.service",
        "/etc/systemd/system/kubelet.service.wants/x.service",
        "/etc/kubernetes/manifests/x.yaml",
        "/opt/cni/bin/x",
        "/etc/containerd/certs.d/docker.io/hosts.toml",
        "/usr/local/libexec/kpack/x",
    };
    static const char *const others[] = {
        "/etc/systemd/system/ssh.service",
        "/usr/lib/systemd/system/containerd.service",
        "/etc/systemd/system/kubelet-exporter.service",
        "/usr/lib/systemd/system/service.d/x.conf",
        "/etc/kubernetes/admin.conf",
        "/usr/local/bin/own",
    };
    for (size_t i = 0; i < KP_COUNT(watched); i++)
        cr_assert(kp_audit_is_watched(watched[i]), "%s", watched[i]);
    for (size_t i = 0; i < KP_COUNT(others); i++)
        cr_assert(!kp_audit_is_watched(others[i]), "%s", others[i]);
}

Test(audit, images_that_no_bundle_brought)
{
    struct kp_image image = {.reference = "registry.k8s.io/pause:3.9"};
    struct kp_manifest manifest = {.images = &image, .image_count = 1};
    char listing[1024];
    struct kp_digest_text signed_one = kp_digest_hex(&image.digest);
    const char *other = "1111111111111111111111111111111111111111111111111111111111111111";
    snprintf(listing, sizeof(listing),
             "REF TYPE DIGEST SIZE\n%s type sha256:%s 1 MiB\nsha256:22 type sha256:%s 1 MiB\n"
             "evil.example/x:1 type sha256:%s 1 MiB\nregistry.k8s.io/pause:3.9 type sha256:%s 1\n",
             image.reference, signed_one.hex, signed_one.hex, other, other);
    kp_auto_json list = json_array();
    cr_assert_eq(kp_audit_images(list, &manifest, kp_slice_of(listing)), 4);
    cr_assert_eq(json_array_size(list), 2);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "path")),
                     "evil.example/x:1");
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 1), "path")),
                     image.reference);
}

Test(audit, a_run_that_verified_nothing_stands_out)
{
    for (int insecure = 0; insecure < 2; insecure++) {
        struct site s;
        site_open(&s);
        {
            kp_auto(kp_audit_log) log = open_log(&s);
            add(log, "run",
                json_pack("{s:s, s:{s:b, s:i, s:i, s:[s]}}", "who", "ann@admin", "policy",
                          "insecure", insecure, "threshold", 2, "valid", 2 - 2 * insecure,
                          "keys_given", "site.pub"));
        }
        kp_auto_value(kp_audit_book) book = read_book(&s);
        kp_auto_json report = kp_audit_report(&book, s.state, "demo");
        char *page = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&page, &len);
        kp_audit_print(report, out);
        fclose(out);
        cr_assert_eq(strstr(page, "NOT VERIFIED") != NULL, insecure == 1, "%s", page);
        cr_assert_not_null(strstr(page, insecure ? "0 of 2, --key" : "2 of 2, --key"), "%s", page);
        cr_assert_not_null(strstr(page, "cut off"), "%s", page); // no "end" was written
        free(page);
        site_close(&s);
    }
}

/* On a terminal. */
Test(audit, what_nobody_verified_is_red)
{
    static const char red[] = "\033[31mNOT VERIFIED";
    char page[4096] = "", slave[128];
    kp_auto_fd int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    cr_assert_eq(ptsname_r(master, slave, sizeof(slave)), 0);
    FILE *out = fdopen(open(slave, O_RDWR | O_NOCTTY | O_CLOEXEC), "w");
    struct site s;
    site_open(&s);
    {
        kp_auto(kp_audit_log) log = open_log(&s);
        add(log, "run",
            json_pack("{s:s, s:{s:b, s:i, s:i}}", "who", "ann@admin", "policy", "insecure", 1,
                      "threshold", 2, "valid", 0));
    }
    kp_auto_value(kp_audit_book) book = read_book(&s);
    kp_auto_json report = kp_audit_report(&book, s.state, "demo");
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    kp_audit_print(report, out);
    fflush(out);
    // A terminal hands on what was written in pieces.
    struct pollfd wait = {.fd = master, .events = POLLIN};
    for (size_t len = 0; !strstr(page, red) && len + 1 < sizeof(page);) {
        cr_assert_eq(poll(&wait, 1, 30000), 1, "%s", page);
        ssize_t n = read(master, page + len, sizeof(page) - 1 - len);
        cr_assert(n > 0, "%s", page);
        len += (size_t)n;
    }
    fclose(out);
    cr_assert_not_null(strstr(page, red), "%s", page);
    site_close(&s);
}

static json_t *found_file(const char *name, const void *data, size_t len)
{
    struct kp_digest digest;
    kp_auto_free char *path = kp_asprintf("%s/%s", KP_AUDIT_TRUST, name);
    kp_sha256(data, len, &digest);
    return json_pack("{s:s, s:s, s:s}", "path", path, "kind", "file", "sha256",
                     kp_digest_hex(&digest).hex);
}

/* "extra NAME" or "changed NAME" of the only difference; "" where there is none; kp_free. */
static char *only_difference(const json_t *list)
{
    const json_t *first = json_array_get(list, 0);
    cr_assert_leq(json_array_size(list), 1);
    return first ? kp_asprintf("%s %s", json_string_value(json_object_get(first, "what")),
                               kp_path_base(json_string_value(json_object_get(first, "path"))))
                 : kp_strdup("");
}

Test(audit, keys_that_a_node_trusts_and_the_site_does_not)
{
    struct site s;
    struct kp_err err = KP_ERR_INIT;
    site_open(&s);
    kp_auto(kp_trust) trust = kp_trust_new();
    cr_assert_eq(kp_trust_add_pem(trust, "site", kp_slice_of(s.pem), &err), 0);
    kp_auto_free char *pem = kp_trust_pem(trust, 0);
    kp_auto_free char *own = kp_asprintf("%s.pub", kp_digest_hex(&kp_trust_at(trust, 0)->id).hex);
    kp_auto_free char *own_changed = kp_asprintf("changed %s", own);
    const struct {
        const char *name, *content, *wanted;
    } cases[] = {{own, pem, ""},
                 {own, "another key", own_changed},
                 {"strange.pub", pem, "extra strange.pub"},
                 {"strange.pem", pem, "extra strange.pem"},
                 {"trust.1.json", "{}", "extra trust.1.json"},
                 {"trust.1.sig", "", ""},
                 {"revoked.json", "[]", ""},
                 {"note.txt", "", "extra note.txt"}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_json list = json_array();
        kp_auto_json found = json_array();
        json_array_append_new(
            found, found_file(cases[i].name, cases[i].content, strlen(cases[i].content)));
        cr_assert_eq(kp_audit_keys(list, trust, found, &err), 0);
        kp_auto_free char *got = only_difference(list);
        cr_assert_str_eq(got, cases[i].wanted, "%s: %s", cases[i].name, got);
    }
    site_close(&s);
}

Test(audit, bundles_that_nobody_sent)
{
    kp_auto_json files = json_pack("{s:{}}", "/b/one.tar.zst");
    const struct {
        const char *path;
        bool stray;
    } cases[] = {{"/b/one.tar.zst", false},
                 {"/b/one.tar.zst.verified", false},
                 {"/b/one.tar.zst.partial", false},
                 {"/b/two.tar.zst", true},
                 {"/b/two.tar.zst.verified", true},
                 {"/b/one.tar.zst.verified.verified", true},
                 {"/b/folder", true},
                 {"/bundles-of-others/x", false}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_json list = json_array();
        kp_auto_json entries = json_pack("[{s:s}]", "path", cases[i].path);
        kp_audit_stray_bundles(list, "/b", files, entries);
        cr_assert_eq(json_array_size(list), cases[i].stray, "%s", cases[i].path);
        json_array_clear(list);
        kp_audit_stray_bundles(list, "/b", NULL, entries);
        cr_assert_eq(json_array_size(list), kp_starts_with(cases[i].path, "/b/"), "%s",
                     cases[i].path);
    }
}

/* Owned up to: what is named and nothing else, neither of another node nor in files. */
Test(audit, what_was_acknowledged_is_no_difference)
{
    struct site s;
    site_open(&s);
    struct kp_audit_log *log = open_log(&s);
    add(log, "node", json_pack("{s:s, s:s}", "node", "w1", "key", s.pem));
    add(log, "node", json_pack("{s:s, s:s, s:s}", "node", "w1", "key", s.pem, "was", "made anew"));
    struct kp_audit_book book = read_book(&s);
    cr_assert_eq(json_array_size(book.problems), 1);
    kp_auto_json findings = kp_audit_findings_of_book(&book);
    kp_auto_json lost =
        json_pack("[{s:s, s:s, s:s}]", "what", "log", "text", "line 7 is gone", "digest", "aa");
    kp_audit_add_findings(findings, "w1", lost);
    kp_audit_book_release(&book);
    add(log, "acknowledged",
        json_pack("{s:s, s:s, s:O}", "who", "ann@a1", "reason", "a new disk", "what", findings));
    add(log, "node", json_pack("{s:s, s:s, s:s}", "node", "w1", "key", s.pem, "was", "made anew"));
    book = read_book(&s);
    cr_expect_eq(json_array_size(book.problems), 1, "a second time is another finding");
    cr_expect_eq(json_array_size(book.acknowledged), 1);
    static const struct {
        const char *node, *what, *text, *digest;
        bool forgiven;
    } cases[] = {
        {"w1", "log", "line 7 is gone", "aa", true},
        {"w1", "log", "in other words", "aa", true},
        {"w1", "log", "line 7 is gone", "bb", false},
        {"w1", "log", "line 7 is gone", NULL, false},
        {"w2", "log", "line 7 is gone", "aa", false},
        {"w1", "changed", "line 7 is gone", "aa", false},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_json list = json_pack("[{s:s, s:s, s:s*}]", "what", cases[i].what, "text",
                                      cases[i].text, "digest", cases[i].digest);
        cr_expect_eq(kp_audit_forgive(&book, cases[i].node, list), cases[i].forgiven, "%zu", i);
        cr_expect_eq(json_array_size(list), !cases[i].forgiven, "%zu", i);
    }
    kp_audit_book_release(&book);
    kp_audit_log_free(log);
    site_close(&s);
}

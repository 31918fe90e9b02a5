/* SPDX-License-Identifier: Apache-2.0 */
/* The corpus, second half: bundle.sig in other forms, and bundle.json that lies under a good
 * signature. */
#include "hostile_archive.h"

#include "bundle/layout.h"

#include <stdio.h>

#define LINE 202 /* "ed25519 " 64 " " 128 "\n" */
#define BLOCK(a) ((a)->pieces[1].content)

static void other_scheme(struct archive *a)
{
    memcpy(BLOCK(a), "rsa2048", 7);
}

static void crlf(struct archive *a)
{
    BLOCK(a)[LINE - 1] = '\r';
    BLOCK(a)[LINE] = '\n';
}

static void upper_case(struct archive *a)
{
    for (char *p = BLOCK(a) + 8; p < BLOCK(a) + LINE - 1; p++)
        if (*p >= 'a' && *p <= 'f')
            *p = (char)(*p - 32);
}

static void twice(struct archive *a)
{
    memcpy(BLOCK(a) + LINE, BLOCK(a), LINE);
}

/* A line of a stranger, which is fine in its place and not before a smaller key id. */
static void stranger(struct archive *a, char digit, size_t at)
{
    char *line = BLOCK(a) + at;
    memcpy(line, "ed25519 ", 8);
    memset(line + 8, digit, LINE - 9);
    line[72] = ' ';
    line[LINE - 1] = '\n';
}

static void unsorted(struct archive *a)
{
    stranger(a, '0', LINE);
}

static void stranger_in_place(struct archive *a)
{
    stranger(a, 'f', LINE);
}

/* One more than a block may have, in order. */
static void strangers_65(struct archive *a)
{
    for (size_t i = 0; i <= KP_SIGNATURES_MAX; i++) {
        stranger(a, '0', i * LINE);
        BLOCK(a)[i * LINE + 8] = (char)('0' + i / 10);
        BLOCK(a)[i * LINE + 9] = (char)('0' + i % 10);
    }
}

static void zeros_after(struct archive *a)
{
    memset(BLOCK(a) + LINE, 0, KP_SIG_SIZE - LINE);
}

static void line_feed_at_end(struct archive *a)
{
    BLOCK(a)[KP_SIG_SIZE - 1] = '\n';
}

static void text_at_end(struct archive *a)
{
    BLOCK(a)[KP_SIG_SIZE - 1] = 'x';
}

static void blank_first(struct archive *a)
{
    memmove(BLOCK(a) + 1, BLOCK(a), KP_SIG_SIZE - 1);
    BLOCK(a)[0] = ' ';
}

static void unsigned_block(struct archive *a)
{
    memset(BLOCK(a), ' ', KP_SIG_SIZE);
}

static void only_strangers(struct archive *a)
{
    unsigned_block(a);
    stranger(a, 'f', 0);
}

static void signature_altered(struct archive *a)
{
    BLOCK(a)[100] = BLOCK(a)[100] == '0' ? '1' : '0';
}

static void key_id_altered(struct archive *a)
{
    BLOCK(a)[20] = BLOCK(a)[20] == '0' ? '1' : '0';
}

static void manifest_altered(struct archive *a)
{
    archive_edit(a, "conntrack", "conntrace");
}

static void block_one_less(struct archive *a)
{
    kp_auto_free char *block = kp_strndup(BLOCK(a), KP_SIG_SIZE - 1);
    piece_fill(&a->pieces[1], block, KP_SIG_SIZE - 1);
}

static void block_one_more(struct archive *a)
{
    char block[KP_SIG_SIZE + 1];
    memcpy(block, BLOCK(a), KP_SIG_SIZE);
    block[KP_SIG_SIZE] = ' ';
    piece_fill(&a->pieces[1], block, sizeof(block));
}

static const struct {
    const char *name;
    void (*make)(struct archive *a);
    int code;
    const char *reason;
} blocks[] = {
    {"signature-other-scheme", other_scheme, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-crlf", crlf, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-upper-case-hex", upper_case, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-twice", twice, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-unsorted", unsorted, KP_UNTRUSTED, "bad_signature_block"},
    {"signatures-over-64", strangers_65, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-zeros-after", zeros_after, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-line-feed-at-end", line_feed_at_end, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-text-at-end", text_at_end, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-blank-first", blank_first, KP_UNTRUSTED, "bad_signature_block"},
    {"signature-none", unsigned_block, KP_UNTRUSTED, "unsigned"},
    {"signature-of-strangers-only", only_strangers, KP_UNTRUSTED, "unknown_key"},
    {"signature-altered", signature_altered, KP_UNTRUSTED, "bad_signature"},
    {"signature-key-id-altered", key_id_altered, KP_UNTRUSTED, "unknown_key"},
    {"signature-over-another-manifest", manifest_altered, KP_UNTRUSTED, "bad_signature"},
    {"signature-block-one-less", block_one_less, KP_DAMAGED, "damaged"},
    {"signature-block-one-more", block_one_more, KP_DAMAGED, "damaged"},
    {"good-with-a-stranger-beside", stranger_in_place, KP_OK, ""},
};

#define X64 "1111111111111111111111111111111111111111111111111111111111111111"
#define DEEP                                                                                       \
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]" \
    "]]"                                                                                           \
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"

static const struct {
    const char *name, *find, *replace;
} lies[] = {
    {"json-not-json", "{", ""},
    {"json-byte-order-mark", "{", "\xEF\xBB\xBF{"},
    {"json-comment", "{", "/* */{"},
    {"json-bytes-after-end", "]}\n", "]} x"},
    {"json-second-document", "]}\n", "]}{}\n"},
    {"json-duplicate-key", "\"serial\":", "\"serial\":1,\"serial\":"},
    {"json-duplicate-key-escaped", "\"serial\":", "\"\\u0073erial\":1,\"serial\":"},
    {"json-unknown-key", "\"serial\":", "\"zerial\":1,\"serial\":"},
    {"json-nested-deep", "\"bases\":[]", "\"bases\":" DEEP},
    {"json-not-utf-8", "k8s-v1.30.14-flannel", "k8s-\xff-flannel"},
    {"json-overlong-utf-8", "k8s-v1.30.14-flannel", "k8s-\xc0\xaf-flannel"},
    {"json-lone-surrogate", "k8s-v1.30.14-flannel", "k8s-\\ud800-flannel"},
    {"json-zero-byte", "k8s-v1.30.14-flannel", "k8s-\\u0000-flannel"},
    {"json-float", "1764000000", "1764000000.0"},
    {"json-exponent", "1764000000", "1e9"},
    {"json-integer-over-2-63", "1764000000", "9223372036854775808"},
    {"json-integer-of-100-digits", "1764000000",
     "1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"},
    {"json-negative", "1764000000", "-1"},
    {"json-leading-zero", "1764000000", "01764000000"},
    {"json-not-a-number", "1764000000", "NaN"},
    {"json-text-for-a-number", "1764000000", "\"1764000000\""},
    {"json-null", "1764000000", "null"},
    {"kind-of-a-trust-list", "kpack.bundle/v1", "kpack.trust/v1"},
    {"kind-of-a-later-version", "kpack.bundle/v1", "kpack.bundle/v9"},
    {"kind-missing", "\"kind\":\"kpack.bundle/v1\",", ""},
    {"name-climbs", "k8s-v1.30.14-flannel-amd64", "../../../tmp/evil"},
    {"name-escape-sequence", "k8s-v1.30.14-flannel", "k8s-\\u001b[2J-flannel"},
    {"entry-path-climbs", "\"blobs/sha256/", "\"../blobs/sha256/"},
    {"entry-path-absolute", "\"blobs/sha256/", "\"/blobs/sha256/"},
    {"entry-path-is-no-digest", "\"path\":\"blobs/sha256/", "\"path\":\"blobs/sha256/../"},
    {"entry-of-8-gib", "{\"path\":\"oci-layout\",\"size\":31",
     "{\"path\":\"oci-layout\",\"size\":8589934592"},
    {"entry-of-2-63", "{\"path\":\"oci-layout\",\"size\":31",
     "{\"path\":\"oci-layout\",\"size\":9223372036854775807"},
    {"entry-size-other", "{\"path\":\"oci-layout\",\"size\":31",
     "{\"path\":\"oci-layout\",\"size\":32"},
    {"entries-none", "\"entries\":[", "\"entries\":[],\"x\":["},
    {"image-media-type-other",
     "\"media_type\":\"application/vnd.oci.image.manifest.v1+json\",\"arches\"",
     "\"media_type\":\"application/vnd.oci.image.index.v1+json\",\"arches\""},
    {"leaves-shorter",
     "{\"path\":\"bundle.leaves\",\"size\":", "{\"path\":\"bundle.leaves\",\"size\":1"},
    {"leaves-under-another-name", "\"bundle.leaves\"", "\"bundle.leaf\""},
    {"tail-length-other", "\"tail_length\":", "\"tail_length\":1"},
    {"digest-upper-case", "\"sha256\":\"", "\"sha256\":\"A"},
    {"digest-climbs", "\"blob\":\"", "\"blob\":\"../../\",\"blob_\":\""},
    {"digest-not-listed", "\"blob\":\"", "\"blob\":\"" X64 "\",\"blob_\":\""},
    {"blob-size-other", "\"blob_size\":", "\"blob_size\":1"},
    {"base-not-listed", "\"media_type\":\"application/octet-stream\"}",
     "\"media_type\":\"application/octet-stream\",\"base\":\"" X64 "\"}"},
    {"base-that-holds-nothing", "\"bases\":[]",
     "\"bases\":[{\"id\":\"" X64 "\",\"name\":\"b\",\"serial\":1}]"},
    {"media-type-with-line-feed", "application/octet-stream", "a/b\\r\\nX-Evil: 1"},
    {"file-target-climbs", "/usr/local/bin/kubelet\"", "/usr/../../etc/shadow\""},
    {"file-target-relative", "/usr/local/bin/kubelet\"", "usr/local/bin/kubelet\""},
    {"file-target-is-a-folder", "/usr/local/bin/kubelet\"", "/usr/local/bin/\""},
    {"file-setuid", "\"0755\"", "\"4755\""},
    {"file-world-writable", "\"0755\"", "\"0777\""},
    {"file-size-2-63", "\"mode\":\"0755\"", "\"mode\":\"0755\",\"size\":9223372036854775808"},
    {"file-for-another-arch", "\"arch\":\"amd64\"", "\"arch\":\"arm64\""},
    {"image-reference-climbs", "registry.k8s.io/pause:3.9", "registry.k8s.io/../pause:3.9"},
    {"image-reference-without-host", "registry.k8s.io/pause:3.9", "pause:3.9"},
    {"role-unknown", "\"worker\"", "\"king\""},
    {"origin-escape-sequence", "https://dl.k8s.io", "https://dl\\u001b.k8s.io"},
};

static void take(struct archive *a, struct kp_slice good, const struct kp_key *key,
                 struct hostile_case *one, const char *name, int code, const char *reason)
{
    archive_open(a, good, key);
    *one = (struct hostile_case){.code = code, .reason = reason};
    snprintf(one->name, sizeof(one->name), "%s", name);
}

void hostile_each_document(struct kp_slice good, const struct kp_key *key, hostile_visit *visit,
                           void *user)
{
    struct archive a;
    struct hostile_case one;
    for (size_t i = 0; i < KP_COUNT(blocks); i++) {
        take(&a, good, key, &one, blocks[i].name, blocks[i].code, blocks[i].reason);
        blocks[i].make(&a);
        visit(user, &one, &a);
        archive_close(&a);
    }
    for (size_t i = 0; i < KP_COUNT(lies); i++) {
        take(&a, good, key, &one, lies[i].name, KP_DAMAGED, "bad_manifest|damaged");
        archive_edit(&a, lies[i].find, lies[i].replace);
        archive_sign(&a);
        visit(user, &one, &a);
        archive_close(&a);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_mutate [SECONDS [SEED]]: changes a good bundle at random, but knowing its structure, and
 * gives it to the reader. What is accepted must be the very bytes that were signed, or carry a
 * manifest that was signed again and is consistent: every blob reads back with its digest. Prints
 * the seed; the same seed makes the same changes.
 */
#include "hostile_archive.h"

#include "bundle/layout.h"
#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define STEPS_MAX 3 /* changes made to one archive */
#define LOAD_MAX ((size_t)8 << 20)

struct mutator {
    uint64_t state, seed;
    struct kp_slice good;
    const struct fixture *f;
    uint64_t tried, same, accepted_signed, refused[8];
    char did[512]; /* the changes of this round, for the report */
};

static uint64_t draw(struct mutator *m, uint64_t below)
{
    m->state ^= m->state << 13;
    m->state ^= m->state >> 7;
    m->state ^= m->state << 17;
    return below ? (m->state >> 11) % below : 0;
}

static void note(struct mutator *m, const char *what, uint64_t where)
{
    size_t at = strlen(m->did);
    snprintf(m->did + at, sizeof(m->did) - at, " %s:%llu", what, (unsigned long long)where);
}

/* --- changes that know the structure
 * -------------------------------------------------------------- */

static size_t any_piece(struct mutator *m, const struct archive *a)
{
    return (size_t)draw(m, a->count);
}

static void swap_entries(struct mutator *m, struct archive *a)
{
    size_t x = any_piece(m, a), y = any_piece(m, a);
    note(m, "swap", x * 100 + y);
    archive_swap(a, x, y);
}

static void drop_entry(struct mutator *m, struct archive *a)
{
    size_t x = any_piece(m, a);
    note(m, "drop", x);
    archive_remove(a, x);
}

static void double_entry(struct mutator *m, struct archive *a)
{
    size_t x = any_piece(m, a), to = (size_t)draw(m, a->count + 1);
    char path[101] = "";
    kp_auto_free char *content = kp_alloc(a->pieces[x].len + 1);
    size_t len = a->pieces[x].len;
    note(m, "double", x * 100 + to);
    memcpy(path, a->pieces[x].header, 100);
    memcpy(content, a->pieces[x].content, len);
    archive_insert(a, to, path, '0', content, len);
}

static void change_header(struct mutator *m, struct archive *a)
{
    static const size_t fields[] = {0,   99,  100, 108, 116, 124, 135, 136, 148, 156,
                                    157, 257, 263, 265, 297, 329, 337, 345, 500, 511};
    struct piece *p = &a->pieces[any_piece(m, a)];
    size_t at = draw(m, 2) ? fields[draw(m, KP_COUNT(fields))] : (size_t)draw(m, 512);
    note(m, "header", at);
    p->header[at] = (char)(p->header[at] ^ (char)(1 + draw(m, 255)));
    if (draw(m, 4))
        piece_seal(p);
}

static void change_size(struct mutator *m, struct archive *a)
{
    static const char *const sizes[] = {"00000000000",
                                        "00000000001",
                                        "77777777777",
                                        "00400000001",
                                        "00000040001",
                                        "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff",
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                                        "\x80\0\0\0\0\0\0\2\0\0\0"};
    struct piece *p = &a->pieces[any_piece(m, a)];
    size_t which = (size_t)draw(m, KP_COUNT(sizes));
    note(m, "size", which);
    memcpy(p->header + 124, sizes[which], 11);
    piece_seal(p);
}

static void change_framing(struct mutator *m, struct archive *a)
{
    enum framing how = (enum framing)draw(m, FRAMINGS);
    uint64_t which = draw(m, 5);
    note(m, "framing", how * 10 + which);
    if (which == 0)
        a->end_frame = how;
    else if (which < 3)
        a->pieces[any_piece(m, a)].header_frame = how;
    else
        a->pieces[any_piece(m, a)].content_frame = how;
}

static void change_content(struct mutator *m, struct archive *a)
{
    struct piece *p = &a->pieces[any_piece(m, a)];
    size_t at = (size_t)draw(m, kp_layout_padded(p->len));
    note(m, "content", at);
    if (p->len)
        p->content[at] = (char)(p->content[at] ^ (char)(1 + draw(m, 255)));
}

static void change_end(struct mutator *m, struct archive *a)
{
    static const char junk[3000] = "junk";
    uint64_t what = draw(m, 3);
    size_t n = (size_t)draw(m, sizeof(junk));
    note(m, "end", what * 10000 + n);
    if (what == 0)
        kp_buf_add(&a->trailing, junk, n);
    else if (what == 1)
        kp_buf_add(&a->end, junk, n);
    else
        a->end.len = a->end.len < n ? a->end.len : n;
}

typedef void change(struct mutator *m, struct archive *a);
static change *const changes[] = {swap_entries, drop_entry,     double_entry,   change_header,
                                  change_size,  change_framing, change_content, change_end};

/* --- changes of the signed manifest
 * --------------------------------------------------------------- */

static json_t *any_member(struct mutator *m, json_t *value, json_t **parent, const char **key,
                          size_t *index)
{
    for (int depth = 0; depth < 4; depth++) {
        size_t n = json_is_object(value) ? json_object_size(value) : json_array_size(value);
        if (!n)
            break;
        size_t pick = (size_t)draw(m, n);
        *parent = value;
        *index = pick;
        *key = NULL;
        if (json_is_object(value)) {
            void *it = json_object_iter(value);
            while (pick--)
                it = json_object_iter_next(value, it);
            *key = json_object_iter_key(it);
            value = json_object_iter_value(it);
        } else {
            value = json_array_get(value, pick);
        }
        if (draw(m, 3) == 0)
            break;
    }
    return value;
}

static json_t *other_value(struct mutator *m, json_t *value)
{
    static const json_int_t numbers[] = {0,  1,    -1,         31,        32,
                                         33, 4096, 8589934591, INT64_MAX, INT64_MIN};
    static const char *const texts[] = {"",         "..",           "/",
                                        "../x",     "a\nb",         "amd64",
                                        "worker",   "bundle.sig",   "1970-01-01T00:00:00Z",
                                        "sha256:x", "localhost/x:1"};
    switch (draw(m, 6)) {
    case 0:
        return json_integer(numbers[draw(m, KP_COUNT(numbers))]);
    case 1:
        return json_string(texts[draw(m, KP_COUNT(texts))]);
    case 2:
        return json_array();
    case 3:
        return json_object();
    case 4:
        return json_is_integer(value) ? json_integer(json_integer_value(value) + 1) : json_null();
    default:
        return json_deep_copy(value);
    }
}

static void change_manifest(struct mutator *m, struct archive *a)
{
    struct piece *p = &a->pieces[0];
    kp_auto_json document = json_loadb(p->content, p->len, 0, NULL);
    json_t *parent = NULL, *value;
    const char *key = NULL;
    size_t index = 0;
    if (!document)
        return;
    value = any_member(m, document, &parent, &key, &index);
    uint64_t what = draw(m, 4);
    note(m, key ? key : "element", what * 1000 + index);
    if (key && what == 0)
        json_object_del(parent, key);
    else if (key)
        json_object_set_new(parent, key, other_value(m, value));
    else if (what == 0)
        json_array_remove(parent, index);
    else if (what == 1)
        json_array_insert_new(parent, index, json_deep_copy(value));
    else if (what == 2)
        json_array_append(parent, value);
    else
        json_array_set_new(parent, index, other_value(m, value));
    kp_auto_free char *text = kp_json_dump(document, true);
    piece_fill(p, text, strlen(text));
    archive_sign(a);
}

/* --- rounds
 * ----------------------------------------------------------------------------------------- */

static void stop(const struct mutator *m, const char *what)
{
    fprintf(stderr, "hostile_mutate: %s; seed %llu, round %llu:%s\n", what,
            (unsigned long long)m->seed, (unsigned long long)m->tried, m->did);
    abort();
}

static void check_reads(const struct mutator *m, const struct kp_bundle *bundle)
{
    const struct kp_manifest *manifest = kp_bundle_manifest(bundle);
    for (size_t i = 0; i < manifest->blob_count; i++) {
        kp_auto_free char *text = NULL;
        if (!manifest->blobs[i].base &&
            kp_bundle_load(bundle, &manifest->blobs[i].sha256, LOAD_MAX, &text, NULL, NULL) < 0)
            stop(m, "a verified blob does not read back");
    }
}

static void judge(struct mutator *m, struct kp_slice bytes, bool manifest_signed)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_verify_options options = {.threads = 1};
    struct kp_err err = KP_ERR_INIT;
    char path[64];
    kp_auto_fd int fd = memfd_create("bundle", MFD_CLOEXEC);
    if (fd < 0 || kp_write_full(fd, bytes.ptr, bytes.len, &err) < 0)
        stop(m, "no memory file");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    bool same = bytes.len == m->good.len && memcmp(bytes.ptr, m->good.ptr, bytes.len) == 0;
    if (kp_bundle_open(&bundle, path, m->f->trust, NULL, &err) < 0 ||
        kp_bundle_verify(bundle, &options, NULL, &err) < 0) {
        if (same)
            stop(m, "the good bundle is refused");
        if (err.code != KP_DAMAGED && err.code != KP_UNTRUSTED)
            stop(m, err.message);
        if (!err.reason || !err.message[0])
            stop(m, "refused without a reason");
        m->refused[err.code]++;
        return;
    }
    if (!same && !manifest_signed)
        stop(m, "accepted, and it is not what was signed");
    check_reads(m, bundle);
    m->same += same;
    m->accepted_signed += !same;
}

static void one_round(struct mutator *m)
{
    struct archive a;
    kp_auto_value(kp_buf) bytes = KP_BUF(ARCHIVE_FILE_MAX);
    bool of_manifest = draw(m, 3) == 0;
    m->did[0] = '\0';
    m->tried++;
    archive_open(&a, m->good, m->f->key);
    for (uint64_t n = 1 + draw(m, STEPS_MAX); n && a.count; n--) {
        if (of_manifest)
            change_manifest(m, &a);
        else
            changes[draw(m, KP_COUNT(changes))](m, &a);
    }
    archive_write(&a, &bytes);
    archive_close(&a);
    if (!of_manifest && draw(m, 8) == 0) {
        bytes.len = (size_t)draw(m, bytes.len + 1);
        note(m, "cut", bytes.len);
    }
    judge(m, kp_buf_slice(&bytes), of_manifest);
}

/* Cut at, before and behind every boundary: of frames, blocks, headers, leaves. */
static void cut_everywhere(struct mutator *m)
{
    struct archive a;
    size_t at = 0;
    archive_open(&a, m->good, m->f->key);
    for (size_t i = 0; i < a.count; i++) {
        uint64_t blocks = kp_layout_blocks(a.pieces[i].len);
        for (uint64_t b = 0; b <= blocks + 2; b++) {
            size_t inside = b == 0 ? 0 : b == 1 ? KP_HEADER_FRAME : kp_layout_block_offset(b - 2);
            for (size_t around = 0; around < 3; around++) {
                size_t cut = at + inside + around;
                if (cut == 0 || cut > m->good.len)
                    continue;
                snprintf(m->did, sizeof(m->did), " cut at %zu", cut - 1);
                m->tried++;
                judge(m, (struct kp_slice){m->good.ptr, cut - 1}, false);
            }
        }
        at += kp_layout_entry_size(a.pieces[i].len);
    }
    archive_close(&a);
}

int main(int argc, char **argv)
{
    struct fixture f;
    struct mutator m = {.f = &f};
    uint64_t seconds = 20;
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    m.seed = (uint64_t)time(NULL) * 1000 + (uint64_t)begin.tv_nsec % 1000;
    if (argc > 3 || (argc > 1 && !kp_parse_u64(kp_slice_of(argv[1]), 86400, &seconds)) ||
        (argc > 2 && !kp_parse_u64(kp_slice_of(argv[2]), INT64_MAX, &m.seed))) {
        fprintf(stderr, "usage: hostile_mutate [SECONDS [SEED]]\n");
        return 2;
    }
    m.state = m.seed * 2685821657736338717ULL + 88172645463325252ULL;
    printf("seed %llu\n", (unsigned long long)m.seed);
    fflush(stdout);
    m.good.ptr = hostile_good(&f, &m.good.len);
    judge(&m, m.good, false);
    cut_everywhere(&m);
    do {
        one_round(&m);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((uint64_t)(now.tv_sec - begin.tv_sec) < seconds);
    printf("%llu tried: %llu damaged, %llu untrusted, %llu the good bundle itself, %llu signed "
           "again and consistent\n",
           (unsigned long long)m.tried, (unsigned long long)m.refused[KP_DAMAGED],
           (unsigned long long)m.refused[KP_UNTRUSTED], (unsigned long long)m.same,
           (unsigned long long)m.accepted_signed);
    kp_free((char *)(uintptr_t)m.good.ptr);
    fixture_close(&f);
    return m.refused[KP_DAMAGED] && m.refused[KP_UNTRUSTED] ? 0 : 1;
}

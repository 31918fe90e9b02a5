/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/node.h"

#include "core/text.h"

#define LINES_MAX 2000
#define CONTEXT 3

struct lines {
    struct kp_slice *items;
    size_t count;
    bool binary;
};

static void lines_release(struct lines *lines)
{
    kp_free(lines->items);
}
KP_DEFINE_AUTO_VALUE(lines);

static struct lines split_lines(struct kp_slice text)
{
    struct lines out = {.items = kp_alloc_array(LINES_MAX + 1, sizeof(struct kp_slice))};
    out.binary = text.len && memchr(text.ptr, '\0', text.len);
    while (text.len && out.count <= LINES_MAX) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : text.len;
        out.items[out.count++] = (struct kp_slice){text.ptr, len};
        text.ptr += end ? len + 1 : len;
        text.len -= end ? len + 1 : len;
    }
    return out;
}

static bool same(struct kp_slice a, struct kp_slice b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* Lengths of longest common subsequences of the tails; row-major, (n+1) x (m+1). */
static uint16_t *common_tails(const struct lines *a, const struct lines *b)
{
    size_t width = b->count + 1;
    uint16_t *table = kp_alloc_array((a->count + 1) * width, sizeof(*table));
    for (size_t i = a->count; i-- > 0;)
        for (size_t j = b->count; j-- > 0;) {
            uint16_t down = table[(i + 1) * width + j], right = table[i * width + j + 1];
            table[i * width + j] = same(a->items[i], b->items[j])
                                       ? (uint16_t)(table[(i + 1) * width + j + 1] + 1)
                                       : (down > right ? down : right);
        }
    return table;
}

struct edit {
    char kind; /* ' ' '-' '+' */
    struct kp_slice line;
    size_t a, b; /* lines before it on either side */
};

static size_t find_edits(const struct lines *a, const struct lines *b, struct edit *out)
{
    kp_auto_free uint16_t *table = common_tails(a, b);
    size_t width = b->count + 1, i = 0, j = 0, n = 0;
    while (i < a->count || j < b->count) {
        if (i < a->count && j < b->count && same(a->items[i], b->items[j])) {
            out[n++] = (struct edit){' ', a->items[i], i, j};
            i++;
            j++;
        } else if (j >= b->count ||
                   (i < a->count && table[(i + 1) * width + j] >= table[i * width + j + 1])) {
            out[n++] = (struct edit){'-', a->items[i], i, j};
            i++;
        } else {
            out[n++] = (struct edit){'+', b->items[j], i, j};
            j++;
        }
    }
    return n;
}

// The end of the hunk that begins at `from`: changes not more than 2*CONTEXT lines apart.
static size_t hunk_end(const struct edit *edits, size_t n, size_t from)
{
    size_t last = from;
    for (size_t i = from; i < n && i - last <= 2 * (size_t)CONTEXT; i++)
        if (edits[i].kind != ' ')
            last = i;
    return last + 1 + CONTEXT < n ? last + 1 + CONTEXT : n;
}

static void add_hunk(struct kp_buf *out, const struct edit *edits, size_t from, size_t to)
{
    size_t removed = 0, added = 0;
    for (size_t i = from; i < to; i++) {
        removed += edits[i].kind != '+';
        added += edits[i].kind != '-';
    }
    kp_buf_addf(out, "@@ -%zu,%zu +%zu,%zu @@\n", edits[from].a + (removed > 0), removed,
                edits[from].b + (added > 0), added);
    for (size_t i = from; i < to; i++)
        kp_buf_addf(out, "%c%.*s\n", edits[i].kind, (int)edits[i].line.len, edits[i].line.ptr);
}

static void add_hunks(struct kp_buf *out, const struct lines *a, const struct lines *b)
{
    kp_auto_free struct edit *edits = kp_alloc_array(a->count + b->count + 1, sizeof(*edits));
    size_t n = find_edits(a, b, edits), done = 0;
    for (size_t i = 0; i < n; i++) {
        if (edits[i].kind == ' ')
            continue;
        size_t from = i > done + CONTEXT ? i - CONTEXT : done;
        done = hunk_end(edits, n, i);
        add_hunk(out, edits, from, done);
        i = done - 1;
    }
}

char *kp_diff(const char *path, struct kp_slice before, struct kp_slice after)
{
    if (same(before, after))
        return NULL;
    kp_auto_value(lines) a = split_lines(before), b = split_lines(after);
    kp_auto_value(kp_buf) out = KP_BUF(KP_DIFF_MAX);
    if (a.binary || b.binary || a.count > LINES_MAX || b.count > LINES_MAX)
        return kp_asprintf("%s: %zu bytes become %zu bytes\n", path, before.len, after.len);
    kp_buf_addf(&out, "--- %s\n+++ %s\n", before.len ? path : "/dev/null",
                after.len ? path : "/dev/null");
    add_hunks(&out, &a, &b);
    if (out.overflow)
        return kp_asprintf("%.*s\n… cut\n", (int)out.len, out.data);
    if (a.count == b.count && out.len < 1)
        kp_buf_addf(&out, "\\ end of file\n");
    return kp_buf_steal(&out);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/listing.h"

#include "core/buf.h"

#include <criterion/criterion.h>

#define OBJECT(kind, name) "apiVersion: v1\nkind: " kind "\nmetadata:\n  name: " name "\n"

/* "document:kind/namespace/name …" */
static char *summary(const struct kp_listing *listing)
{
    kp_auto_value(kp_buf) out = KP_BUF(4096);
    for (size_t i = 0; i < listing->count; i++)
        kp_buf_addf(&out, "%s%zu:%s/%s/%s", i ? " " : "", listing->items[i].document,
                    listing->items[i].kind, listing->items[i].namespace_, listing->items[i].name);
    return kp_buf_steal(&out);
}

static const struct {
    const char *what, *text, *objects;
} cases[] = {
    {"one", OBJECT("Pod", "a"), "0:Pod//a"},
    {"nothing", "# only a comment\n", ""},
    {"two, and an empty document between", "---\n" OBJECT("A", "a") "---\n---\n" OBJECT("B", "b"),
     "0:A//a 1:B//b"},
    {"flow style and a namespace", "{apiVersion: v1, kind: A, metadata: {namespace: n, name: a}}\n",
     "0:A/n/a"},
    {"name after a long spec",
     "spec:\n  metadata: {name: no}\n  kind: no\nkind: A\nmetadata: {name: a}\napiVersion: v1\n",
     "0:A//a"},
    {"a List",
     "apiVersion: v1\nkind: List\nitems:\n- " /* indented below */
     "{apiVersion: v1, kind: A, metadata: {name: a}}\n- {kind: B, apiVersion: v1, metadata: {name: "
     "b, namespace: m}}\n",
     "0:A//a 0:B/m/b"},
    {"a List whose kind comes last",
     "items:\n- {apiVersion: v1, kind: A, metadata: {name: a}}\nkind: PodList\napiVersion: v1\n",
     "0:A//a"},
    {"items that are a field",
     "apiVersion: x/v1\nkind: Menu\nmetadata: {name: m}\nitems:\n- {kind: soup}\n", "0:Menu//m"},
};

Test(listing, objects_of_every_document)
{
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_listing) listing = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_listing_read(&listing, kp_slice_of(cases[i].text), "m.yaml", &err), 0,
                     "%s: %s", cases[i].what, err.message);
        kp_auto_free char *seen = summary(listing);
        cr_expect_str_eq(seen, cases[i].objects, "%s: %s", cases[i].what, seen);
    }
}

Test(listing, documents_are_the_text_in_parts)
{
    const char *text = "# héllo\n---\n" OBJECT("A", "a") "# to a\n---\n" OBJECT("B", "b");
    kp_auto(kp_listing) listing = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_listing_read(&listing, kp_slice_of(text), "m.yaml", &err), 0);
    cr_assert_eq(listing->document_count, 2);
    cr_expect(kp_slice_equal(listing->documents[0], "# héllo\n---\n" OBJECT("A", "a") "# to a\n"));
    cr_expect(kp_slice_equal(listing->documents[1], "---\n" OBJECT("B", "b")));
}

Test(listing, many_objects_and_programs)
{
    kp_auto_value(kp_buf) text = KP_BUF(1 << 20);
    for (int i = 0; i < 300; i++)
        kp_buf_addf(&text,
                    "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: "
                    "[{name: c%d, image: \"quay.io/x/app:%d\"}]}\n",
                    i, i % 2, i);
    kp_auto(kp_listing) listing = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_listing_read(&listing, kp_buf_slice(&text), "m.yaml", &err), 0);
    cr_assert_eq(listing->count, 300);
    cr_assert_eq(listing->document_count, 300);
    cr_assert_str_eq(listing->items[299].name, "p299");
    cr_assert_eq(listing->program_count, 3);
    cr_assert_str_eq(listing->programs[1], "app");
}

static const struct {
    const char *what, *text, *says;
} bad[] = {
    {"no YAML", "a: [\n", "m.yaml:2:1"},
    {"no name", "apiVersion: v1\nkind: A\n", "document 1 is no object"},
    {"second has no kind", OBJECT("A", "a") "---\nmetadata: {name: b}\n",
     "document 2 is no object"},
    {"an item without a name", "apiVersion: v1\nkind: List\nitems:\n- {kind: A}\n",
     "document 1 is no object"},
    {"not a mapping", "- a\n- b\n", "document 1 is no object"},
};

Test(listing, what_is_no_object)
{
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto(kp_listing) listing = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_listing_read(&listing, kp_slice_of(bad[i].text), "m.yaml", &err), -1, "%s",
                     bad[i].what);
        cr_expect_eq(err.code, KP_USAGE);
        cr_expect(strstr(err.message, bad[i].says), "%s: %s", bad[i].what, err.message);
    }
}

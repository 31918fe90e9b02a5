/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle_fixture.h"

#include "bundle/index.h"
#include "bundle/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct fixture f;
static struct kp_bundle *bundle;

static void setup(void)
{
    struct kp_err err = KP_ERR_INIT;
    fixture_open(&f);
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
}

static void teardown(void)
{
    kp_bundle_free(bundle);
    fixture_close(&f);
}

TestSuite(bundle_manifest, .init = setup, .fini = teardown, .timeout = 60);

Test(bundle_manifest, dump_is_the_inverse_of_parse)
{
    struct kp_slice text = kp_bundle_manifest_bytes(bundle);
    size_t len;
    kp_auto_free char *again = kp_manifest_dump(kp_bundle_manifest(bundle), &len);
    cr_assert_eq(len, text.len);
    cr_expect_eq(memcmp(again, text.ptr, len), 0);
}

Test(bundle_manifest, every_member_survives)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    const struct kp_file *file = kp_manifest_file(m, "kubelet", "amd64");
    const struct kp_image *image = kp_manifest_image(m, "pause");
    cr_expect_str_eq(m->name, "k8s-v1.30.14-flannel-amd64");
    cr_expect_eq(m->serial, 1764000000);
    cr_expect_str_eq(m->created, "2026-11-23T21:00:00Z");
    cr_expect_null(m->expires);
    cr_expect_str_eq(m->kubernetes, "v1.30.14");
    cr_expect_str_eq(m->kubeadm_api, "v1beta3");
    cr_expect_eq(m->containerd_config, 2);
    cr_expect_str_eq(m->programs[1], "iptables");
    cr_expect_null(m->programs[2]);
    cr_assert_not_null(file);
    cr_expect_eq(file->mode, 0755);
    cr_expect_eq(file->roles, KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER);
    cr_expect_str_eq(file->target, "/usr/local/bin/kubelet");
    cr_assert_not_null(image);
    cr_expect_str_eq(image->reference, "registry.k8s.io/pause:3.9");
    cr_expect(image->pinned);
    cr_assert_eq(m->manifest_count, 1);
    cr_expect_str_eq(m->manifests[0].replace[0].with, "pods");
    cr_expect_str_eq(m->manifests[0].wait[0].namespace_, "kube-flannel");
    cr_expect_null(kp_manifest_file(m, "kubelet", "arm64"));
    cr_expect_null(kp_manifest_image(m, ""));
}

Test(bundle_manifest, index_names_images_for_skopeo_and_containerd)
{
    kp_auto_free char *text = NULL;
    kp_auto_json index = NULL;
    size_t len;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_index_make(kp_bundle_manifest(bundle), &text, &len, &err), 0);
    cr_assert_eq(kp_json_parse(&index, (struct kp_slice){text, len}, len, "index", &err), 0);
    const json_t *item = json_array_get(json_object_get(index, "manifests"), 0);
    const json_t *notes = json_object_get(item, "annotations");
    cr_expect_str_eq(json_string_value(json_object_get(notes, "org.opencontainers.image.ref.name")),
                     "registry.k8s.io/pause:3.9");
    cr_expect_str_eq(json_string_value(json_object_get(notes, "io.containerd.image.name")),
                     "registry.k8s.io/pause:3.9");
    cr_expect_gt(json_integer_value(json_object_get(item, "size")), 0);
}

/* The valid text with the first `find` replaced; kp_free. */
static char *with(const char *find, const char *replace, size_t *len)
{
    struct kp_slice text = kp_bundle_manifest_bytes(bundle);
    const char *at = memmem(text.ptr, text.len, find, strlen(find));
    cr_assert_not_null(at, "the case is stale: %s is not in the manifest", find);
    size_t before = (size_t)(at - text.ptr), after = text.len - before - strlen(find);
    *len = before + strlen(replace) + after;
    char *out = kp_alloc(*len + 1);
    memcpy(out, text.ptr, before);
    memcpy(out + before, replace, strlen(replace));
    memcpy(out + before + strlen(replace), at + strlen(find), after);
    return out;
}

#define HEX64 "1111111111111111111111111111111111111111111111111111111111111111"

static const struct flaw {
    const char *flaw, *find, *replace, *said;
} flaws[] = {
    {"not JSON", "{", "", "bundle.json:1"},
    {"bytes after the end", "]}\n", "]} x", "end of file expected"},
    {"kind missing", "\"kind\":\"kpack.bundle/v1\",", "", "kind: is missing"},
    {"kind of another document", "kpack.bundle/v1", "kpack.trust/v1", "kind"},
    {"newer kind", "kpack.bundle/v1", "kpack.bundle/v2", "kind"},
    {"unknown key", "\"serial\"", "\"zerial\":1,\"serial\"", "zerial: unknown key"},
    {"unknown key inside an entry", "{\"path\"", "{\"x\":1,\"path\"", "x: unknown key"},
    {"key twice", "\"serial\":", "\"serial\":1,\"serial\":", "duplicate"},
    {"name with a slash", "k8s-v1.30.14-flannel", "k8s/v1.30.14-flannel", "name"},
    {"name with dots", "k8s-v1.30.14-flannel", "k8s..v1.30.14-flannel", "name"},
    {"name missing", "\"name\":\"k8s-v1.30.14-flannel-amd64\",", "", "name: is missing"},
    {"negative serial", "1764000000", "-1", "serial"},
    {"serial as text", "1764000000", "\"1\"", "serial"},
    {"created not UTC", "21:00:00Z", "21:00:00+01:00", "created"},
    {"created is no date", "2026-11-23", "2026-13-40", "created"},
    {"version of two parts", "\"kubernetes\":\"v1.30.14\"", "\"kubernetes\":\"v1.30\"",
     "kubernetes"},
    {"unknown arch", "\"arches\":[\"amd64\"]", "\"arches\":[\"vax\"]", "arches"},
    {"arch twice", "\"arches\":[\"amd64\"]", "\"arches\":[\"amd64\",\"amd64\"]", "arches"},
    {"programs not texts", "[\"conntrack\"", "[1", "programs"},
    {"tail_length off by one", "\"tail_length\":", "\"tail_length\":1", "tail_length"},
    {"first entry has another name", "{\"path\":\"bundle.leaves\"", "{\"path\":\"bundle.leaf\"",
     "entries[0].path"},
    {"entry path leads out", "\"blobs/sha256/", "\"../blobs/sha256/", "path"},
    {"entry path is not its digest", "\"path\":\"blobs/sha256/", "\"path\":\"blobs/sha256/0",
     "path"},
    {"entry path in upper case", "\"path\":\"blobs", "\"path\":\"Blobs", "path"},
    {"entry has another size",
     "{\"path\":\"index.json\",\"size\":", "{\"path\":\"index.json\",\"size\":9999999", "entries"},
    {"entry of 8 GiB", "{\"path\":\"oci-layout\",\"size\":31",
     "{\"path\":\"oci-layout\",\"size\":8589934592", "size"},
    {"digest in upper case", "\"sha256\":\"", "\"sha256\":\"A", "sha256"},
    {"entries is an object", "\"entries\":[", "\"entries\":{},\"entriez\":[", "entries"},
    {"blob too large", "],\n\"files\"", ",{\"sha256\":\"ff" HEX64 "\"}],\n\"files\"", "blobs"},
    {"media type without a slash", "\"media_type\":\"application/octet-stream\"",
     "\"media_type\":\"octets\"", "media_type"},
    {"base that is not listed", "\"media_type\":\"application/octet-stream\"}",
     "\"media_type\":\"application/octet-stream\",\"base\":\"" HEX64 "\"}", "base"},
    {"base that holds nothing", "\"bases\":[]",
     "\"bases\":[{\"id\":\"" HEX64 "\",\"name\":\"b\",\"serial\":1}]", "holds no blob"},
    {"base twice", "\"bases\":[]",
     "\"bases\":[{\"id\":\"" HEX64 "\",\"name\":\"b\",\"serial\":1},{\"id\":\"" HEX64
     "\",\"name\":\"c\",\"serial\":2}]",
     "there twice"},
    {"file target relative", "/usr/local/bin/kubelet\"", "usr/local/bin/kubelet\"", "target"},
    {"file target climbs", "/usr/local/bin/kubelet\"", "/usr/../../etc/shadow\"", "target"},
    {"setuid file", "\"0755\"", "\"4755\"", "mode"},
    {"world-writable file", "\"0755\"", "\"0777\"", "mode"},
    {"group-writable file", "\"0755\"", "\"0664\"", "mode"},
    {"mode as a number", "\"0755\"", "755", "mode"},
    {"mode not octal", "\"0755\"", "\"0798\"", "mode"},
    {"file of an arch that is not carried", "\"arch\":\"amd64\"", "\"arch\":\"arm64\"", "arch"},
    {"unknown role", "\"worker\"", "\"king\"", "roles"},
    {"role twice", "[\"control-plane\",\"worker\"]", "[\"worker\",\"worker\"]", "roles"},
    {"blob of a file not listed", "\"blob\":\"", "\"blob\":\"" HEX64 "\",\"blob_\":\"", "blob"},
    {"blob_size differs", "\"blob_size\":", "\"blob_size\":1", "blob"},
    {"control character in the origin", "https://dl.k8s.io", "https://dl\\u001b.k8s.io", "origin"},
    {"zero byte in the origin", "https://dl.k8s.io", "https://dl\\u0000.k8s.io", "bundle.json"},
    {"a package brings what nodes need not", "\"origin\":\"https://dl",
     "\"programs\":[\"vi\"],\"origin\":\"https://dl", "programs"},
    {"runtime of a file not listed", "\"origin\":\"https://dl",
     "\"runtime\":\"crio\",\"origin\":\"https://dl", "not in runtimes"},
    {"runtime of an unknown kind", "\"network\":",
     "\"runtimes\":[{\"name\":\"a\",\"kind\":\"docker\",\"version\":\"1\",\"config\":0}],"
     "\"network\":",
     "containerd, crio or oci is needed"},
    {"runtime twice", "\"network\":",
     "\"runtimes\":[{\"name\":\"a\",\"kind\":\"oci\",\"version\":\"1\",\"config\":0},{\"name\":"
     "\"a\",\"kind\":\"crio\",\"version\":\"1\",\"config\":0}],\"network\":",
     "there twice"},
    {"image reference without tag", "registry.k8s.io/pause:3.9", "registry.k8s.io/pause",
     "reference"},
    {"image media type differs", "\"pause\",", "\"pause\",\"media_type\":\"a/b\",", "duplicate"},
    {"image digest not listed", "\"digest\":\"", "\"digest\":\"" HEX64 "\",\"digezt\":\"",
     "digest"},
    {"pinned as text", "\"pinned\":true", "\"pinned\":\"yes\"", "pinned"},
    {"replacement of nothing", "\"find\":\"10.244.0.0/16\"", "\"find\":\"\"", "find"},
    {"wait for a strange name", "\"kube-flannel-ds\"", "\"kube flannel\"", "wait[0].name"},
    {"provenance is a list", "\"bases\":[]", "\"bases\":[],\"provenance\":[]", "provenance"},
    {"nested deep", "\"bases\":[]",
     "\"bases\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]"
     "]]]]]"
     "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
     "nested"},
    {"not UTF-8", "k8s-v1.30.14-flannel", "k8s-\xff-flannel", "bundle.json"},
};

Test(bundle_manifest, each_flaw_is_refused_and_named)
{
    for (size_t i = 0; i < KP_COUNT(flaws); i++) {
        kp_auto(kp_manifest) parsed = NULL;
        struct kp_err err = KP_ERR_INIT;
        size_t len;
        kp_auto_free char *text = with(flaws[i].find, flaws[i].replace, &len);
        cr_assert_eq(kp_manifest_parse(&parsed, (struct kp_slice){text, len}, &err), -1, "%s",
                     flaws[i].flaw);
        cr_expect_eq(err.code, KP_DAMAGED, "%s", flaws[i].flaw);
        cr_expect_str_eq(err.reason, "bad_manifest", "%s", flaws[i].flaw);
        cr_expect(strstr(err.message, flaws[i].said) != NULL, "%s: \"%s\" lacks \"%s\"",
                  flaws[i].flaw, err.message, flaws[i].said);
        cr_expect(strstr(err.message, "bundle.json") != NULL, "%s: %s", flaws[i].flaw, err.message);
    }
}

Test(bundle_manifest, what_a_package_brings_goes_there_and_back)
{
    kp_auto(kp_manifest) parsed = NULL;
    kp_auto(kp_manifest) again = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t len, len_again;
    kp_auto_free char *text = with("\"origin\":\"https://dl",
                                   "\"programs\":[\"conntrack\"],\"origin\":\"https://dl", &len);
    cr_assert_eq(kp_manifest_parse(&parsed, (struct kp_slice){text, len}, &err), 0, "%s",
                 err.message);
    cr_assert_str_eq(parsed->files[0].programs[0], "conntrack");
    kp_auto_free char *dumped = kp_manifest_dump(parsed, &len_again);
    cr_assert_eq(kp_manifest_parse(&again, (struct kp_slice){dumped, len_again}, &err), 0, "%s",
                 err.message);
    cr_assert_str_eq(again->files[0].programs[0], "conntrack");
    cr_assert_null(again->files[0].programs[1]);
}

/* The same file for two runtimes, for one twice, for one and for all: only the first can be. */
Test(bundle_manifest, each_runtime_may_bring_its_own_files)
{
    static const struct {
        const char *first, *second, *said;
    } cases[] = {{"a", "b", NULL},
                 {"a", "a", "there twice"},
                 {"a", NULL, "also there for all nodes"},
                 {NULL, "b", "also there for all nodes"}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_manifest) parsed = NULL;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_json document = json_deep_copy(kp_bundle_manifest(bundle)->document);
        json_t *files = json_object_get(document, "files");
        json_t *one = json_array_get(files, 0), *two = json_deep_copy(one);
        json_object_set_new(document, "runtimes",
                            json_pack("[{s:s, s:s, s:s, s:i}, {s:s, s:s, s:s, s:i}]", "name", "a",
                                      "kind", "containerd", "version", "1.7.27", "config", 2,
                                      "name", "b", "kind", "crio", "version", "1.30.14", "config",
                                      0));
        json_array_append_new(files, two);
        if (cases[i].first)
            json_object_set_new(one, "runtime", json_string(cases[i].first));
        if (cases[i].second)
            json_object_set_new(two, "runtime", json_string(cases[i].second));
        kp_auto_free char *text = kp_json_dump(document, true);
        int result = kp_manifest_parse(&parsed, kp_slice_of(text), &err);
        cr_assert_eq(result, cases[i].said ? -1 : 0, "case %zu: %s", i, err.message);
        if (cases[i].said)
            cr_expect(strstr(err.message, cases[i].said) != NULL, "%s", err.message);
        else
            cr_expect_eq(kp_manifest_runtime(parsed, "b")->kind, KP_RUNTIME_CRIO);
    }
}

/* Elements of a list in another order, missing or doubled: one case per list and change. */
static void change_list(json_t *list, int change)
{
    size_t n = json_array_size(list);
    if (change == 0)
        json_array_append(list, json_array_get(list, n - 1));
    else if (change == 1)
        json_array_remove(list, n - 1);
    else {
        json_t *last = json_incref(json_array_get(list, n - 1));
        json_array_remove(list, n - 1);
        json_array_insert_new(list, n - 2, last);
    }
}

Test(bundle_manifest, lists_that_are_longer_shorter_or_reordered_are_refused)
{
    static const char *const lists[] = {"entries", "blobs"};
    for (size_t i = 0; i < KP_COUNT(lists); i++)
        for (int change = 0; change < 3; change++) {
            kp_auto(kp_manifest) parsed = NULL;
            struct kp_err err = KP_ERR_INIT;
            kp_auto_json document = json_deep_copy(kp_bundle_manifest(bundle)->document);
            change_list(json_object_get(document, lists[i]), change);
            kp_auto_free char *text = kp_json_dump(document, true);
            cr_expect_eq(kp_manifest_parse(&parsed, kp_slice_of(text), &err), -1, "%s, change %d",
                         lists[i], change);
            cr_expect_eq(err.code, KP_DAMAGED);
        }
}

Test(bundle_manifest, same_target_name_or_reference_twice_is_refused)
{
    static const char *const lists[] = {"files", "images"};
    for (size_t i = 0; i < KP_COUNT(lists); i++) {
        kp_auto(kp_manifest) parsed = NULL;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_json document = json_deep_copy(kp_bundle_manifest(bundle)->document);
        change_list(json_object_get(document, lists[i]), 0);
        kp_auto_free char *text = kp_json_dump(document, true);
        cr_expect_eq(kp_manifest_parse(&parsed, kp_slice_of(text), &err), -1, "%s", lists[i]);
        cr_expect(strstr(err.message, "there twice") != NULL, "%s", err.message);
    }
}

static void expect_refused(const struct kp_manifest *m, const char *words)
{
    kp_auto(kp_manifest) parsed = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t len;
    kp_auto_free char *text = kp_manifest_dump(m, &len);
    cr_assert_eq(kp_manifest_parse(&parsed, (struct kp_slice){text, len}, &err), -1);
    cr_expect_not_null(strstr(err.message, words), "%s", err.message);
}

/* Also where the entries follow them. */
Test(bundle_manifest, blobs_in_another_order_are_refused)
{
    struct kp_manifest m = *kp_bundle_manifest(bundle);
    kp_auto_free struct kp_blob *blobs = kp_alloc_array(m.blob_count, sizeof(*blobs));
    kp_auto_free struct kp_entry *entries = kp_alloc_array(m.entry_count, sizeof(*entries));
    memcpy(blobs, m.blobs, m.blob_count * sizeof(*blobs));
    memcpy(entries, m.entries, m.entry_count * sizeof(*entries));
    blobs[0] = m.blobs[1];
    blobs[1] = m.blobs[0];
    entries[KP_FIXED_ENTRIES] = m.entries[KP_FIXED_ENTRIES + 1];
    entries[KP_FIXED_ENTRIES + 1] = m.entries[KP_FIXED_ENTRIES];
    m.blobs = blobs;
    m.entries = entries;
    expect_refused(&m, "ascending");
}

/* An entry that is as long as the blob at its place, and another. */
Test(bundle_manifest, entries_of_other_content_are_refused)
{
    struct kp_manifest m = *kp_bundle_manifest(bundle);
    kp_auto_free struct kp_entry *entries = kp_alloc_array(m.entry_count, sizeof(*entries));
    memcpy(entries, m.entries, m.entry_count * sizeof(*entries));
    struct kp_entry *other = &entries[KP_FIXED_ENTRIES];
    other->sha256.bytes[0] ^= 1;
    kp_auto_free char *path = kp_asprintf("blobs/sha256/%s", kp_digest_hex(&other->sha256).hex);
    other->path = path;
    m.entries = entries;
    expect_refused(&m, "has no entry at its place");
}

/* One more entry than there are blobs, all that is counted counted with it. */
Test(bundle_manifest, an_entry_of_no_blob_is_refused)
{
    struct kp_manifest m = *kp_bundle_manifest(bundle);
    kp_auto_free struct kp_entry *entries = kp_alloc_array(m.entry_count + 1, sizeof(*entries));
    memcpy(entries, m.entries, m.entry_count * sizeof(*entries));
    struct kp_entry *extra = &entries[m.entry_count++];
    *extra = (struct kp_entry){.size = 1};
    kp_auto_free char *path = kp_asprintf("blobs/sha256/%s", kp_digest_hex(&extra->sha256).hex);
    extra->path = path;
    entries[0].size += KP_SHA256_LEN;
    m.tail_length += kp_layout_entry_size(1) + kp_layout_entry_size(entries[0].size) -
                     kp_layout_entry_size(m.entries[0].size);
    m.entries = entries;
    expect_refused(&m, "is in no blob's place");
}

/* A length of bundle.leaves that fits the file, but not the entries: one leaf more, one less. */
Test(bundle_manifest, leaves_of_another_number_are_refused)
{
    for (int change = -1; change <= 1; change++) {
        struct kp_manifest m = *kp_bundle_manifest(bundle);
        kp_auto(kp_manifest) parsed = NULL;
        kp_auto_free struct kp_entry *entries = kp_alloc_array(m.entry_count, sizeof(*entries));
        struct kp_err err = KP_ERR_INIT;
        size_t len;
        memcpy(entries, m.entries, m.entry_count * sizeof(*entries));
        entries[0].size += (uint64_t)(change * KP_SHA256_LEN);
        m.tail_length +=
            kp_layout_entry_size(entries[0].size) - kp_layout_entry_size(m.entries[0].size);
        m.entries = entries;
        kp_auto_free char *text = kp_manifest_dump(&m, &len);
        cr_assert_eq(kp_manifest_parse(&parsed, (struct kp_slice){text, len}, &err),
                     change ? -1 : 0, "%d: %s", change, err.message);
        cr_expect(!change || strstr(err.message, "bundle.leaves has"), "%s", err.message);
    }
}

Test(bundle_manifest, keys_in_another_order_are_fine)
{
    kp_auto(kp_manifest) parsed = NULL;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *text = json_dumps(kp_bundle_manifest(bundle)->document, JSON_SORT_KEYS);
    cr_expect_eq(kp_manifest_parse(&parsed, kp_slice_of(text), &err), 0, "%s", err.message);
}

Test(bundle_manifest, roles_have_texts)
{
    cr_expect_eq(kp_role_parse("control-plane"), KP_ROLE_CONTROL_PLANE);
    cr_expect_eq(kp_role_parse("worker"), KP_ROLE_WORKER);
    cr_expect_eq(kp_role_parse("etcd"), KP_ROLE_ETCD);
    cr_expect_eq(kp_role_parse("master"), 0);
    cr_expect_str_eq(kp_role_text(KP_ROLE_ETCD), "etcd");
    cr_expect_null(kp_role_text(KP_ROLE_ETCD | KP_ROLE_WORKER));
}

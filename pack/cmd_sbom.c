/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kpack sbom BUNDLE: an SPDX 2.3 document (JSON) of what the signed manifest lists: the files that
 * are placed on nodes, the images and the cluster manifests; and of the packages of images whose
 * layers have a dpkg database. What was not looked into each image says. No clock and nothing of
 * this host: the same bundle gives the same document.
 */
#include "bundle/set.h"
#include "pack/commands.h"
#include "pack/layers.h"

#include <stdio.h>

#define NAMESPACE "https://spdx.org/spdxdocs/"
#define NOT_KNOWN "NOASSERTION"
#define BUNDLE_ID "SPDXRef-Bundle"
#define NO_DATABASE                                                                                \
    "Its layers have no dpkg database; packages of other kinds were not looked into."
#define OTHERS "Packages of other kinds were not looked into."
#define COMMENT_MAX 4096

struct sbom {
    const struct kp_bundle *bundle;
    const struct kp_manifest *m;
    json_t *packages, *relationships;
};

static void relate(struct sbom *s, const char *from, const char *what, const char *to)
{
    json_array_append_new(s->relationships,
                          json_pack("{s:s, s:s, s:s}", "spdxElementId", from, "relationshipType",
                                    what, "relatedSpdxElement", to));
}

/* Licences of releases are SPDX ids (docs/releases.md); "" is none known. */
static const char *license_of(const char *license)
{
    return license[0] ? license : NOT_KNOWN;
}

struct thing {
    const char *id, *name, *version, *origin, *license, *purpose, *comment, *purl;
    const struct kp_digest *sha256; /* NULL: none is known */
    const char *within;             /* NULL: the bundle */
};

static void add_thing(struct sbom *s, const struct thing *t)
{
    json_t *package = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s*}", "SPDXID", t->id, "name", t->name,
        "versionInfo", t->version, "downloadLocation", t->origin, "filesAnalyzed", 0,
        "licenseConcluded", NOT_KNOWN, "licenseDeclared", license_of(t->license), "copyrightText",
        NOT_KNOWN, "primaryPackagePurpose", t->purpose, "comment", t->comment);
    if (t->sha256)
        json_object_set_new(package, "checksums",
                            json_pack("[{s:s, s:s}]", "algorithm", "SHA256", "checksumValue",
                                      kp_digest_hex(t->sha256).hex));
    if (t->purl)
        json_object_set_new(package, "externalRefs",
                            json_pack("[{s:s, s:s, s:s}]", "referenceCategory", "PACKAGE-MANAGER",
                                      "referenceType", "purl", "referenceLocator", t->purl));
    json_array_append_new(s->packages, package);
    if (strcmp(t->id, BUNDLE_ID) != 0)
        relate(s, t->within ? t->within : BUNDLE_ID, "CONTAINS", t->id);
}

static const char *location(const char *origin)
{
    return strstr(origin, "://") ? origin : NOT_KNOWN;
}

static void add_files(struct sbom *s)
{
    for (size_t i = 0; i < s->m->file_count; i++) {
        const struct kp_file *f = &s->m->files[i];
        kp_auto_free char *id = kp_asprintf("SPDXRef-File-%zu", i + 1);
        kp_auto_free char *comment =
            kp_asprintf("Part of %s, for %s; placed at %s. The checksum is that of the file as "
                        "installed.",
                        f->component, f->arch, f->target);
        struct thing t = {.id = id,
                          .name = f->name,
                          .version = f->version,
                          .origin = location(f->origin),
                          .license = f->license,
                          .purpose = "FILE",
                          .comment = comment,
                          .sha256 = &f->sha256};
        add_thing(s, &t);
    }
}

/* The packages of one image for one arch, as they are found. */
struct inside {
    struct sbom *s;
    const char *image, *arch; /* of the image: its SPDX id */
    char os[64], release[64];
    size_t count;
};

/* Of a purl: what is not unreserved is percent-encoded. */
static void add_encoded(struct kp_buf *out, struct kp_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c);
        kp_buf_addf(out, plain ? "%c" : "%%%02X", (unsigned char)c);
    }
}

static void add_package(void *user, const struct kp_dpkg_package *package)
{
    struct inside *in = user;
    kp_auto_value(kp_buf) purl = KP_BUF(2048);
    kp_auto_free char *id = kp_asprintf("%s-%s-Package-%zu", in->image, in->arch, ++in->count);
    kp_auto_free char *name = kp_strndup(package->name.ptr, package->name.len);
    kp_auto_free char *version = kp_strndup(package->version.ptr, package->version.len);
    kp_buf_addf(&purl, "pkg:deb/%s/", in->os);
    add_encoded(&purl, package->name);
    kp_buf_adds(&purl, "@");
    add_encoded(&purl, package->version);
    kp_buf_addf(&purl, "?arch=%.*s", (int)package->arch.len, package->arch.ptr);
    if (in->release[0])
        kp_buf_addf(&purl, "&distro=%s-%s", in->os, in->release);
    struct thing t = {.id = id,
                      .name = name,
                      .version = version,
                      .origin = NOT_KNOWN,
                      .license = "",
                      .purpose = "LIBRARY",
                      .purl = purl.data,
                      .within = in->image};
    add_thing(in->s, &t);
}

static void take_word(char *out, size_t size, struct kp_slice word, const char *otherwise)
{
    bool good = word.len > 0 && word.len < size;
    for (size_t i = 0; good && i < word.len; i++)
        good = strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", word.ptr[i]) != NULL;
    if (good)
        snprintf(out, size, "%.*s", (int)word.len, word.ptr);
    else
        snprintf(out, size, "%s", otherwise);
}

/* What there is to say of it goes into the comment; a layer that cannot be read is no reason to
 * have no document, bytes that differ from what was signed are. */
static int look_into(struct sbom *s, const struct kp_image *image, const char *id, const char *arch,
                     struct kp_buf *comment, struct kp_err *err)
{
    kp_auto(kp_layers) layers = NULL;
    struct kp_err why = KP_ERR_INIT;
    struct inside in = {.s = s, .image = id, .arch = arch};
    kp_buf_addf(comment, "%s%s: ", comment->len ? " " : "", arch);
    if (kp_layers_read(&layers, s->bundle, image, arch, &why) < 0) {
        if (why.code == KP_DAMAGED || why.sys) {
            *err = why;
            return -1;
        }
        kp_buf_addf(comment, "Its layers were not looked into: %.300s.", why.message);
        return 0;
    }
    if (!kp_layers_has_dpkg(layers)) {
        kp_buf_adds(comment, NO_DATABASE);
        return 0;
    }
    take_word(in.os, sizeof(in.os), kp_layers_os(layers, "ID"), "debian");
    take_word(in.release, sizeof(in.release), kp_layers_os(layers, "VERSION_ID"), "");
    size_t odd = kp_layers_packages(layers, add_package, &in);
    kp_buf_addf(comment, "%zu packages of the dpkg database of its layers", in.count);
    if (odd)
        kp_buf_addf(comment, ", %zu more that are not as Debian Policy has them", odd);
    kp_buf_adds(comment, ". " OTHERS);
    return 0;
}

static int look_into_all(struct sbom *s, const struct kp_image *image, const char *id,
                         struct kp_buf *comment, struct kp_err *err)
{
    for (size_t i = 0; image->arches[i]; i++)
        if (look_into(s, image, id, image->arches[i], comment, err) < 0)
            return -1;
    return 0;
}

static int add_images(struct sbom *s, struct kp_err *err)
{
    for (size_t i = 0; i < s->m->image_count; i++) {
        const struct kp_image *image = &s->m->images[i];
        struct kp_digest_text hex = kp_digest_hex(&image->digest);
        const char *slash = strrchr(image->reference, '/');
        const char *base = slash ? slash + 1 : image->reference;
        size_t len = strcspn(base, ":@");
        kp_auto_free char *id = kp_asprintf("SPDXRef-Image-%zu", i + 1);
        kp_auto_free char *purl =
            kp_asprintf("pkg:oci/%.*s@sha256%%3A%s?repository_url=%.*s", (int)len, base, hex.hex,
                        (int)(base + len - image->reference), image->reference);
        const char *tag = base[len] == ':' ? base + len + 1 : hex.hex;
        kp_auto_value(kp_buf) comment = KP_BUF(COMMENT_MAX);
        if (look_into_all(s, image, id, &comment, err) < 0)
            return -1;
        struct thing t = {.id = id,
                          .name = image->reference,
                          .version = tag,
                          .origin = NOT_KNOWN,
                          .license = image->license,
                          .purpose = "CONTAINER",
                          .comment = kp_buf_slice(&comment).ptr,
                          .purl = purl,
                          .sha256 = &image->digest};
        add_thing(s, &t);
    }
    return 0;
}

static void add_manifests(struct sbom *s)
{
    for (size_t i = 0; i < s->m->manifest_count; i++) {
        const struct kp_cluster_manifest *y = &s->m->manifests[i];
        kp_auto_free char *id = kp_asprintf("SPDXRef-Manifest-%zu", i + 1);
        struct kp_digest_text hex = kp_digest_hex(&y->blob);
        struct thing t = {.id = id,
                          .name = y->name,
                          .version = hex.hex,
                          .origin = location(y->origin),
                          .license = "",
                          .purpose = "FILE",
                          .comment = "YAML that is applied to the cluster.",
                          .sha256 = &y->blob};
        add_thing(s, &t);
    }
}

static int make_document(json_t **out, const struct kp_bundle *bundle, struct kp_err *err)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    kp_auto_json packages = json_array();
    kp_auto_json relationships = json_array();
    struct sbom s = {bundle, m, packages, relationships};
    kp_auto_free char *serial = kp_asprintf("%llu", (unsigned long long)m->serial);
    kp_auto_free char *space = kp_asprintf(NAMESPACE "%s-%s", m->name, kp_digest_hex(&m->id).hex);
    struct thing whole = {.id = BUNDLE_ID,
                          .name = m->name,
                          .version = serial,
                          .origin = NOT_KNOWN,
                          .license = "",
                          .purpose = "ARCHIVE",
                          .comment =
                              "The checksum is the bundle's id: the SHA-256 of its bundle.json.",
                          .sha256 = &m->id};
    relate(&s, "SPDXRef-DOCUMENT", "DESCRIBES", BUNDLE_ID);
    add_thing(&s, &whole);
    add_files(&s);
    if (add_images(&s, err) < 0)
        return -1;
    add_manifests(&s);
    *out =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:[s]}, s:O, s:O}", "spdxVersion", "SPDX-2.3",
                  "dataLicense", "CC0-1.0", "SPDXID", "SPDXRef-DOCUMENT", "name", m->name,
                  "documentNamespace", space, "creationInfo", "created", m->created, "creators",
                  "Tool: kpack-" KP_VERSION, "packages", packages, "relationships", relationships);
    if (!*out)
        return kp_fail(err, KP_DAMAGED, "a text of its manifest is not UTF-8");
    return 0;
}

int kp_cmd_sbom(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_reading_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    (void)argc;
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, signers, err) < 0 ||
        kp_bundle_open_bases(bundle, o->bases.items, o->bases.count, err) < 0)
        return -1;
    kp_auto_json out = NULL;
    if (make_document(&out, bundle, err) < 0)
        return kp_wrap(err, "%s", argv[0]);
    kp_json_print(out);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kpack sbom BUNDLE: an SPDX 2.3 document (JSON) of what the signed manifest lists: the files that
 * are placed on nodes, the images and the cluster manifests. What is inside the layers of an image
 * is not looked into, and each image says so. No clock and nothing of this host: the same bundle
 * gives the same document.
 */
#include "pack/commands.h"

#define NAMESPACE "https://spdx.org/spdxdocs/"
#define NOT_KNOWN "NOASSERTION"
#define BUNDLE_ID "SPDXRef-Bundle"
#define NOT_LOOKED_INTO "The packages inside the layers of this image were not looked into."

struct sbom {
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
    const struct kp_digest *sha256;
};

static void add_thing(struct sbom *s, const struct thing *t)
{
    json_t *package = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:[{s:s, s:s}]}", "SPDXID", t->id,
        "name", t->name, "versionInfo", t->version, "downloadLocation", t->origin, "filesAnalyzed",
        0, "licenseConcluded", NOT_KNOWN, "licenseDeclared", license_of(t->license),
        "copyrightText", NOT_KNOWN, "primaryPackagePurpose", t->purpose, "comment", t->comment,
        "checksums", "algorithm", "SHA256", "checksumValue", kp_digest_hex(t->sha256).hex);
    if (t->purl)
        json_object_set_new(package, "externalRefs",
                            json_pack("[{s:s, s:s, s:s}]", "referenceCategory", "PACKAGE-MANAGER",
                                      "referenceType", "purl", "referenceLocator", t->purl));
    json_array_append_new(s->packages, package);
    if (strcmp(t->id, BUNDLE_ID) != 0)
        relate(s, BUNDLE_ID, "CONTAINS", t->id);
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
        struct thing t = {id,     f->name, f->version, location(f->origin), f->license,
                          "FILE", comment, NULL,       &f->sha256};
        add_thing(s, &t);
    }
}

static void add_images(struct sbom *s)
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
        struct thing t = {id,          image->reference, tag,  NOT_KNOWN,     image->license,
                          "CONTAINER", NOT_LOOKED_INTO,  purl, &image->digest};
        add_thing(s, &t);
    }
}

static void add_manifests(struct sbom *s)
{
    for (size_t i = 0; i < s->m->manifest_count; i++) {
        const struct kp_cluster_manifest *y = &s->m->manifests[i];
        kp_auto_free char *id = kp_asprintf("SPDXRef-Manifest-%zu", i + 1);
        struct kp_digest_text hex = kp_digest_hex(&y->blob);
        struct thing t = {id,
                          y->name,
                          hex.hex,
                          location(y->origin),
                          "",
                          "FILE",
                          "YAML that is applied to the cluster.",
                          NULL,
                          &y->blob};
        add_thing(s, &t);
    }
}

static json_t *document(const struct kp_manifest *m)
{
    struct sbom s = {m, json_array(), json_array()};
    kp_auto_free char *serial = kp_asprintf("%llu", (unsigned long long)m->serial);
    kp_auto_free char *space = kp_asprintf(NAMESPACE "%s-%s", m->name, kp_digest_hex(&m->id).hex);
    struct thing bundle = {BUNDLE_ID,
                           m->name,
                           serial,
                           NOT_KNOWN,
                           "",
                           "ARCHIVE",
                           "The checksum is the bundle's id: the SHA-256 of its bundle.json.",
                           NULL,
                           &m->id};
    relate(&s, "SPDXRef-DOCUMENT", "DESCRIBES", BUNDLE_ID);
    add_thing(&s, &bundle);
    add_files(&s);
    add_images(&s);
    add_manifests(&s);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:[s]}, s:o, s:o}", "spdxVersion",
                     "SPDX-2.3", "dataLicense", "CC0-1.0", "SPDXID", "SPDXRef-DOCUMENT", "name",
                     m->name, "documentNamespace", space, "creationInfo", "created", m->created,
                     "creators", "Tool: kpack-" KP_VERSION, "packages", s.packages, "relationships",
                     s.relationships);
}

int kp_cmd_sbom(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_reading_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    (void)argc;
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, signers, err) < 0)
        return -1;
    kp_auto_json out = document(kp_bundle_manifest(bundle));
    if (!out)
        return kp_fail(err, KP_DAMAGED, "%s: a text of its manifest is not UTF-8", argv[0]);
    kp_json_print(out);
    return 0;
}

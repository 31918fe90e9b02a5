/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bundle.json says of its sources, as an in-toto Statement v1 with the SLSA provenance v1
 * predicate. The subject is the bundle by its id, which could not stand in bundle.json itself; all
 * else is under the bundle's signature. No clock, nothing of this host: the same bundle gives the
 * same statement.
 */
#include "pack/commands.h"

#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define PREDICATE_TYPE "https://slsa.dev/provenance/v1"
#define BUILD_TYPE "urn:kpack:create:v1"
#define BUILDER "urn:kpack:kpack"

/* A ResourceDescriptor of one source. */
static json_t *dependency(const json_t *source)
{
    static const char *const notes[] = {"checked", "arch", "expected"};
    json_t *annotations = json_object();
    const char *url = json_string_value(json_object_get(source, "url"));
    const char *image = json_string_value(json_object_get(source, "image"));
    kp_auto_free char *uri = url ? kp_strdup(url) : kp_asprintf("docker://%s", image ? image : "");
    for (size_t i = 0; i < KP_COUNT(notes); i++)
        if (json_object_get(source, notes[i]))
            json_object_set(annotations, notes[i], json_object_get(source, notes[i]));
    return json_pack("{s:s, s:{s:O}, s:o}", "uri", uri, "digest", "sha256",
                     json_object_get(source, "sha256"), "annotations", annotations);
}

static json_t *dependencies(const json_t *sources)
{
    json_t *out = json_array(), *source;
    size_t i;
    json_array_foreach(sources, i, source)
    {
        json_t *item = dependency(source);
        if (item)
            json_array_append_new(out, item);
    }
    return out;
}

static json_t *parameters(const struct kp_manifest *m)
{
    json_t *arches = json_array();
    for (size_t i = 0; m->arches[i]; i++)
        json_array_append_new(arches, json_string(m->arches[i]));
    return json_pack("{s:s, s:s, s:o, s:I, s:O*}", "kubernetes", m->kubernetes, "network",
                     m->network, "arches", arches, "serial", (json_int_t)m->serial, "waived",
                     json_object_get(m->provenance, "waived"));
}

static json_t *versions(const struct kp_manifest *m)
{
    return json_pack("{s:O*, s:O*}", "kpack",
                     json_object_get(json_object_get(m->provenance, "tool"), "kpack"), "libzstd",
                     json_object_get(json_object_get(m->provenance, "zstd"), "version"));
}

static json_t *statement(const struct kp_manifest *m)
{
    json_t *by = json_array();
    json_t *lock = json_object_get(m->provenance, "lock");
    if (lock)
        json_array_append_new(
            by, json_pack("{s:s, s:{s:O}}", "name", "lock", "digest", "sha256", lock));
    json_t *predicate = json_pack(
        "{s:{s:s, s:o, s:{s:O*}, s:o}, s:{s:{s:s, s:o}, s:{s:s, s:s}, s:o}}", "buildDefinition",
        "buildType", BUILD_TYPE, "externalParameters", parameters(m), "internalParameters", "zstd",
        json_object_get(m->provenance, "zstd"), "resolvedDependencies",
        dependencies(json_object_get(m->provenance, "sources")), "runDetails", "builder", "id",
        BUILDER, "version", versions(m), "metadata", "invocationId", kp_digest_hex(&m->id).hex,
        "startedOn", m->created, "byproducts", by);
    return json_pack("{s:s, s:[{s:s, s:{s:s}}], s:s, s:o}", "_type", STATEMENT_TYPE, "subject",
                     "name", m->name, "digest", "sha256", kp_digest_hex(&m->id).hex,
                     "predicateType", PREDICATE_TYPE, "predicate", predicate);
}

int kp_cmd_provenance(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_reading_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    (void)argc;
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, signers, err) < 0)
        return -1;
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    if (!m->provenance)
        return kp_fail_as(err, KP_MISSING, "no_provenance", "%s: its bundle.json has no provenance",
                          argv[0]);
    kp_auto_json out = statement(m);
    if (!out)
        return kp_fail(err, KP_DAMAGED, "%s: provenance is not of the form that kpack writes",
                       argv[0]);
    kp_json_print(out);
    return 0;
}

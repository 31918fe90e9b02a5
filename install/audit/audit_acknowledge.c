/* SPDX-License-Identifier: Apache-2.0 */
#include "install/audit/audit_acknowledge.h"

/* A line that is lost is known by its digest, in whatever words it is told; anything else by its
 * words and, in the site's own log, its line. */
static bool is_same(const json_t *owned, const char *node, uint64_t line, const char *text,
                    const char *digest)
{
    if (strcmp(kp_json_string(owned, "node"), node) != 0)
        return false;
    if (*digest || json_object_get(owned, "digest"))
        return strcmp(kp_json_string(owned, "digest"), digest) == 0;
    return (uint64_t)json_integer_value(json_object_get(owned, "line")) == line &&
           strcmp(kp_json_string(owned, "text"), text) == 0;
}

static bool is_owned(const struct kp_audit_book *book, const char *node, uint64_t line,
                     const char *text, const char *digest)
{
    size_t i, j;
    const json_t *record, *one;
    json_array_foreach(book->acknowledged, i, record)
    {
        json_array_foreach(json_object_get(record, "what"), j, one)
        {
            if (is_same(one, node, line, text, digest))
                return true;
        }
    }
    return false;
}

size_t kp_audit_forgive(const struct kp_audit_book *book, const char *node, json_t *differences)
{
    size_t n = 0;
    for (size_t i = json_array_size(differences); i-- > 0;) {
        const json_t *one = json_array_get(differences, i);
        if (strcmp(kp_json_string(one, "what"), "log") != 0 ||
            !is_owned(book, node, 0, kp_json_string(one, "text"), kp_json_string(one, "digest")))
            continue;
        json_array_remove(differences, i);
        n++;
    }
    return n;
}

void kp_audit_forgive_book(struct kp_audit_book *book)
{
    struct kp_chain_state *chain = &book->chain;
    size_t named =
        chain->problem_count < KP_CHAIN_PROBLEMS_MAX ? chain->problem_count : KP_CHAIN_PROBLEMS_MAX;
    size_t kept = 0;
    for (size_t i = json_array_size(book->problems); i-- > 0;) {
        const json_t *one = json_array_get(book->problems, i);
        uint64_t line = (uint64_t)json_integer_value(json_object_get(one, "line"));
        if (is_owned(book, "", line, kp_json_string(one, "text"), ""))
            json_array_remove(book->problems, i);
    }
    for (size_t i = 0; i < named; i++)
        if (!is_owned(book, "", chain->problems[i].line, chain->problems[i].text, ""))
            chain->problems[kept++] = chain->problems[i];
    // Those beyond the ones that are named can be owned up to by nobody.
    chain->problem_count -= named - kept;
}

static void add(json_t *findings, const char *node, uint64_t line, const char *text,
                const char *digest)
{
    json_t *one = json_pack("{s:s, s:s}", "node", node, "text", text);
    if (line)
        json_object_set_new(one, "line", json_integer((json_int_t)line));
    if (*digest)
        json_object_set_new(one, "digest", json_string(digest));
    if (json_array_size(findings) < KP_AUDIT_FINDINGS_MAX)
        json_array_append_new(findings, one);
    else
        json_decref(one);
}

json_t *kp_audit_findings_of_book(const struct kp_audit_book *book)
{
    json_t *findings = json_array();
    const struct kp_chain_state *chain = &book->chain;
    size_t i;
    const json_t *one;
    json_array_foreach(book->problems, i, one)
    {
        add(findings, "", (uint64_t)json_integer_value(json_object_get(one, "line")),
            kp_json_string(one, "text"), "");
    }
    for (i = 0; i < chain->problem_count && i < KP_CHAIN_PROBLEMS_MAX; i++)
        add(findings, "", chain->problems[i].line, chain->problems[i].text, "");
    return findings;
}

void kp_audit_add_findings(json_t *findings, const char *node, const json_t *differences)
{
    size_t i;
    const json_t *one;
    json_array_foreach(differences, i, one)
    {
        add(findings, node, 0, kp_json_string(one, "text"), kp_json_string(one, "digest"));
    }
}

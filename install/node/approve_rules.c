/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/approve_rules.h"

#include "core/base64.h"
#include "core/text.h"
#include "net/net.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>

#define USER "system:node:"
#define GROUP "system:nodes"
#define NAME_MAX_LEN 253
#define RSA_LEAST 2048
#define RSA_MOST 8192
#define SHOWN_MAX 96

static void free_request(X509_REQ **request)
{
    X509_REQ_free(*request);
}

static void free_bio(BIO **bio)
{
    BIO_free_all(*bio);
}

static void free_extensions(STACK_OF(X509_EXTENSION) * *extensions)
{
    sk_X509_EXTENSION_pop_free(*extensions, X509_EXTENSION_free);
}

static void free_names(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

void kp_approve_plain(char *out, size_t size, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < size; i++)
        out[n++] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    out[n] = '\0';
}

static bool no(char why[KP_APPROVE_WHY_MAX], const char *fmt, ...) KP_PRINTF(2, 3);
static bool no(char why[KP_APPROVE_WHY_MAX], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, KP_APPROVE_WHY_MAX, fmt, args);
    va_end(args);
    return false;
}

/* --- the nodes that are known ----------------------------------------------------------------- */

static void read_node(struct kp_approve_node *out, struct kp_json_reader *r)
{
    struct kp_net_address ignored;
    out->name = kp_json_text(r, "name", NAME_MAX_LEN);
    out->addresses =
        kp_json_texts(r, "addresses", KP_APPROVE_ADDRESSES_MAX, false, &out->address_count);
    if (!r->failed && !kp_text_dns_name(out->name, NAME_MAX_LEN))
        kp_json_complain(r, "name", "not a node's name");
    for (size_t i = 0; !r->failed && i < out->address_count; i++)
        if (!kp_net_parse_ip(out->addresses[i], &ignored))
            kp_json_complain(r, "addresses", "%.60s is not an address", out->addresses[i]);
}

int kp_approve_list_read(struct kp_approve_list *out, struct kp_slice text, struct kp_arena *arena,
                         struct kp_err *err)
{
    kp_auto_json document = NULL;
    const json_t *nodes;
    if (kp_json_parse(&document, text, KP_APPROVE_LIST_MAX, "the list of nodes", err) < 0)
        return -1;
    struct kp_json_reader r = kp_json_read(document, "the list of nodes", arena, err);
    const char *kind = kp_json_text(&r, "kind", 64);
    if (!r.failed && strcmp(kind, KP_APPROVE_KIND) != 0)
        kp_json_complain(&r, "kind", "not " KP_APPROVE_KIND);
    size_t n = kp_json_array(&r, "nodes", KP_APPROVE_NODES_MAX, false, &nodes);
    struct kp_approve_list list = {kp_arena_array(arena, n + 1, sizeof(*list.nodes)), n};
    for (size_t i = 0; !r.failed && i < n; i++) {
        struct kp_json_reader one = kp_json_element(&r, "nodes", nodes, i);
        read_node(&list.nodes[i], &one);
        if (kp_json_finish(&one) < 0)
            return -1;
    }
    if (kp_json_finish(&r) < 0)
        return -1;
    *out = list;
    return 0;
}

static const struct kp_approve_node *find_node(const struct kp_approve_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->nodes[i].name, name) == 0)
            return &list->nodes[i];
    return NULL;
}

/* --- what the API server says of the request -------------------------------------------------- */

static bool is_settled(const json_t *csr)
{
    const json_t *spec = json_object_get(csr, "spec"), *status = json_object_get(csr, "status");
    return strcmp(kp_json_string(spec, "signerName"), KP_APPROVE_SIGNER) != 0 ||
           json_array_size(json_object_get(status, "conditions")) > 0 ||
           kp_json_string(status, "certificate")[0];
}

/* The node that asks, or NULL. */
static const struct kp_approve_node *judge_requester(const struct kp_approve_list *list,
                                                     const json_t *spec,
                                                     char why[KP_APPROVE_WHY_MAX])
{
    const char *user = kp_json_string(spec, "username");
    char shown[SHOWN_MAX];
    kp_approve_plain(shown, sizeof(shown), user, strlen(user));
    const struct kp_approve_node *node =
        kp_starts_with(user, USER) ? find_node(list, user + strlen(USER)) : NULL;
    if (!kp_starts_with(user, USER))
        no(why, "it comes from %s, which is no node", shown);
    else if (!kp_json_lists(json_object_get(spec, "groups"), GROUP))
        no(why, "%s is not of the group " GROUP, shown);
    else if (!node)
        no(why, "%s is not a node of the inventory", shown);
    else
        return node;
    return NULL;
}

static bool judge_usages(const json_t *usages, char why[KP_APPROVE_WHY_MAX])
{
    static const char *const allowed[] = {"digital signature", "key encipherment", "server auth"};
    for (size_t i = 0; i < json_array_size(usages); i++) {
        const char *usage = json_string_value(json_array_get(usages, i));
        char shown[SHOWN_MAX];
        bool known = false;
        for (size_t j = 0; usage && j < KP_COUNT(allowed); j++)
            known = known || strcmp(usage, allowed[j]) == 0;
        if (known)
            continue;
        kp_approve_plain(shown, sizeof(shown), usage ? usage : "", usage ? strlen(usage) : 0);
        return no(why, "it is for \"%s\", which a serving certificate is not for", shown);
    }
    if (!kp_json_lists(usages, "digital signature") || !kp_json_lists(usages, "server auth"))
        return no(why, "its usages are not digital signature and server auth");
    return true;
}

/* --- the request itself ----------------------------------------------------------------------- */

static X509_REQ *read_request(const char *pem, size_t len)
{
    static const char head[] = "-----BEGIN CERTIFICATE REQUEST-----",
                      tail[] = "-----END CERTIFICATE REQUEST-----";
    struct kp_slice text = kp_slice_trim((struct kp_slice){pem, len});
    // One block and nothing beside it: no two readers then see two different requests.
    if (!kp_slice_starts(text, head) || text.len < strlen(tail) ||
        memcmp(text.ptr + text.len - strlen(tail), tail, strlen(tail)) != 0 ||
        memmem(text.ptr + 1, text.len - 1, "-----BEGIN", 10))
        return NULL;
    __attribute__((cleanup(free_bio))) BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    return bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
}

static bool judge_key(X509_REQ *request, char why[KP_APPROVE_WHY_MAX])
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    char group[64] = "";
    int bits = key ? EVP_PKEY_get_bits(key) : 0;
    if (!key)
        return no(why, "its key cannot be read");
    if (EVP_PKEY_is_a(key, "RSA")) {
        if (bits < RSA_LEAST || bits > RSA_MOST)
            return no(why, "its key is RSA of %d bits; %d to %d are well", bits, RSA_LEAST,
                      RSA_MOST);
    } else if (EVP_PKEY_is_a(key, "EC")) {
        if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
            (strcmp(group, SN_X9_62_prime256v1) != 0 && strcmp(group, SN_secp384r1) != 0 &&
             strcmp(group, SN_secp521r1) != 0))
            return no(why, "its key is on a curve other than P-256, P-384 and P-521");
    } else {
        return no(why, "its key is neither EC nor RSA");
    }
    return X509_REQ_verify(request, key) == 1 || no(why, "it is not signed by its own key");
}

static bool has_entry(const X509_NAME *name, int nid, const char *wanted)
{
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
        return false;
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    return (ASN1_STRING_type(value) == V_ASN1_UTF8STRING ||
            ASN1_STRING_type(value) == V_ASN1_PRINTABLESTRING) &&
           (size_t)ASN1_STRING_length(value) == strlen(wanted) &&
           memcmp(ASN1_STRING_get0_data(value), wanted, strlen(wanted)) == 0;
}

static bool judge_subject(X509_REQ *request, const char *user, char why[KP_APPROVE_WHY_MAX])
{
    const X509_NAME *name = X509_REQ_get_subject_name(request);
    if (X509_NAME_entry_count(name) != 2 || !has_entry(name, NID_commonName, user) ||
        !has_entry(name, NID_organizationName, GROUP))
        return no(why, "its subject is not O=" GROUP ", CN=%.120s", user);
    return true;
}

static bool is_address_of(const struct kp_approve_node *node, const ASN1_OCTET_STRING *octets)
{
    for (size_t i = 0; i < node->address_count; i++) {
        struct kp_net_address address;
        uint8_t bytes[16];
        if (!kp_net_parse_ip(node->addresses[i], &address))
            continue;
        size_t n = kp_net_ip_bytes(&address, bytes);
        if ((size_t)ASN1_STRING_length(octets) == n &&
            memcmp(ASN1_STRING_get0_data(octets), bytes, n) == 0)
            return true;
    }
    return false;
}

static bool judge_address(const struct kp_approve_node *node, const ASN1_OCTET_STRING *octets,
                          char why[KP_APPROVE_WHY_MAX])
{
    const unsigned char *b = ASN1_STRING_get0_data(octets);
    if (is_address_of(node, octets))
        return true;
    if (ASN1_STRING_length(octets) == 4)
        return no(why, "it asks for the address %u.%u.%u.%u, which is not one of %s", b[0], b[1],
                  b[2], b[3], node->name);
    return no(why, "it asks for an address that is not one of %s", node->name);
}

static bool judge_name(const struct kp_approve_node *node, const GENERAL_NAME *name,
                       char why[KP_APPROVE_WHY_MAX])
{
    int type;
    const void *value = GENERAL_NAME_get0_value(name, &type);
    if (type == GEN_IPADD)
        return judge_address(node, value, why);
    if (type != GEN_DNS)
        return no(why, "it asks for a name that is neither a DNS name nor an address");
    const char *text = (const char *)ASN1_STRING_get0_data(value);
    size_t len = (size_t)ASN1_STRING_length(value);
    char shown[SHOWN_MAX];
    if (len == strlen(node->name) && memcmp(text, node->name, len) == 0)
        return true;
    kp_approve_plain(shown, sizeof(shown), text, len);
    return no(why, "it asks for the name %s, which is not %s", shown, node->name);
}

static bool judge_names(const struct kp_approve_node *node, X509_EXTENSION *extension,
                        char why[KP_APPROVE_WHY_MAX])
{
    __attribute__((cleanup(free_names))) GENERAL_NAMES *names = X509V3_EXT_d2i(extension);
    int n = names ? sk_GENERAL_NAME_num(names) : 0;
    if (n < 1)
        return no(why, "it asks for no name");
    for (int i = 0; i < n; i++)
        if (!judge_name(node, sk_GENERAL_NAME_value(names, i), why))
            return false;
    return true;
}

static bool judge_extensions(const struct kp_approve_node *node, X509_REQ *request,
                             char why[KP_APPROVE_WHY_MAX])
{
    int attributes = X509_REQ_get_attr_count(request);
    if (attributes == 0)
        return no(why, "it asks for no name");
    const ASN1_OBJECT *kind = X509_ATTRIBUTE_get0_object(X509_REQ_get_attr(request, 0));
    if (attributes != 1 || OBJ_obj2nid(kind) != NID_ext_req ||
        X509_ATTRIBUTE_count(X509_REQ_get_attr(request, 0)) != 1)
        return no(why, "it has attributes beside its names");
    __attribute__((cleanup(free_extensions))) STACK_OF(X509_EXTENSION) *extensions =
        X509_REQ_get_extensions(request);
    if (!extensions || sk_X509_EXTENSION_num(extensions) != 1)
        return no(why, "it asks for extensions beside its names");
    X509_EXTENSION *only = sk_X509_EXTENSION_value(extensions, 0);
    if (OBJ_obj2nid(X509_EXTENSION_get_object(only)) != NID_subject_alt_name)
        return no(why, "it asks for an extension that is not its names");
    return judge_names(node, only, why);
}

static bool judge_request(const struct kp_approve_node *node, const json_t *spec,
                          char why[KP_APPROVE_WHY_MAX])
{
    kp_auto_free char *pem = NULL;
    struct kp_slice text = kp_slice_of(kp_json_string(spec, "request"));
    size_t len = 0;
    if (text.len > KP_APPROVE_REQUEST_MAX)
        return no(why, "its request is larger than %zu bytes", KP_APPROVE_REQUEST_MAX);
    if (!kp_base64_parse(text, &pem, &len))
        return no(why, "its request is not Base64");
    __attribute__((cleanup(free_request))) X509_REQ *request = read_request(pem, len);
    if (!request)
        return no(why, "its request is not one PKCS#10 request in PEM");
    return judge_key(request, why) &&
           judge_subject(request, kp_json_string(spec, "username"), why) &&
           judge_extensions(node, request, why);
}

enum kp_approve_verdict kp_approve_judge(const struct kp_approve_list *list, const json_t *csr,
                                         char why[KP_APPROVE_WHY_MAX])
{
    const json_t *spec = json_object_get(csr, "spec");
    why[0] = '\0';
    if (is_settled(csr))
        return KP_APPROVE_SETTLED;
    const struct kp_approve_node *node = judge_requester(list, spec, why);
    bool good = node && judge_usages(json_object_get(spec, "usages"), why) &&
                judge_request(node, spec, why);
    ERR_clear_error(); // what OpenSSL found wrong with it
    return good ? KP_APPROVE_GOOD : KP_APPROVE_REFUSED;
}

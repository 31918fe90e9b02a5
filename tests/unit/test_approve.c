/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of kubelets for serving certificates: the good one, and what somebody who wants another
 * node's certificate would send. */
#include "core/base64.h"
#include "install/node/approve_rules.h"

#include <criterion/criterion.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static const char nodes[] = "{\"kind\": \"kpack.nodes/v1\", \"nodes\": ["
                            "{\"name\": \"cp1\", \"addresses\": [\"10.77.0.11\"]},"
                            "{\"name\": \"w1\", \"addresses\": [\"10.77.0.12\", \"fd77::12\"]}]}";

struct request { /* what stands in the PKCS#10 request */
    const char *common_name, *organization, *unit, *sans, *extension, *value;
    const char *key;  /* "P-256" …, "RSA:1024", "ED25519"; NULL: P-256 */
    bool foreign_key; /* signed by another key than the one in it */
    bool twice;       /* two blocks of PEM */
    const char *text; /* instead of a request */
};
struct spec { /* what the API server says */
    const char *user, *group, *signer, *usages;
};

static EVP_PKEY *make_key(const char *kind)
{
    unsigned bits;
    if (kind && sscanf(kind, "RSA:%u", &bits) == 1)
        return EVP_RSA_gen(bits);
    if (kind && strcmp(kind, "ED25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return EVP_EC_gen(kind ? kind : "P-256");
}

static void add_entry(X509_NAME *name, const char *field, const char *text)
{
    if (text)
        cr_assert_eq(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                                (const unsigned char *)text, -1, -1, 0),
                     1);
}

static void add_extension(STACK_OF(X509_EXTENSION) * list, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    cr_assert(extension, "%s", value);
    sk_X509_EXTENSION_push(list, extension);
}

static char *make_pem(const struct request *r)
{
    EVP_PKEY *key = make_key(r->key), *other = r->foreign_key ? make_key(r->key) : NULL;
    X509_REQ *request = X509_REQ_new();
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    X509_NAME *name = X509_REQ_get_subject_name(request);
    BIO *bio = BIO_new(BIO_s_mem());
    bool plain = r->key && strcmp(r->key, "ED25519") == 0;
    char *data;
    add_entry(name, "O", r->organization ? r->organization : "system:nodes");
    add_entry(name, "OU", r->unit);
    add_entry(name, "CN", r->common_name ? r->common_name : "system:node:w1");
    X509_REQ_set_pubkey(request, key);
    if (!r->sans || *r->sans)
        add_extension(extensions, NID_subject_alt_name, r->sans ? r->sans : "DNS:w1,IP:10.77.0.12");
    if (r->extension)
        add_extension(extensions, OBJ_sn2nid(r->extension), r->value);
    if (sk_X509_EXTENSION_num(extensions))
        cr_assert_eq(X509_REQ_add_extensions(request, extensions), 1);
    cr_assert_gt(X509_REQ_sign(request, other ? other : key, plain ? NULL : EVP_sha256()), 0);
    for (int i = 0; i <= r->twice; i++)
        PEM_write_bio_X509_REQ(bio, request);
    long len = BIO_get_mem_data(bio, &data);
    char *pem = kp_strndup(data, (size_t)len);
    BIO_free(bio);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return pem;
}

static json_t *make_csr(const struct request *r, const struct spec *s)
{
    kp_auto_free char *pem = r->text ? kp_strdup(r->text) : make_pem(r);
    kp_auto_free char *base64 = kp_base64(pem, strlen(pem));
    const char *usages = s->usages ? s->usages : "[\"digital signature\", \"server auth\"]";
    json_t *list = json_loads(usages, 0, NULL);
    cr_assert(list);
    return json_pack(
        "{s:{s:s}, s:{s:s, s:s, s:[s, s], s:o, s:s}, s:{}}", "metadata", "name", "csr-1", "spec",
        "signerName", s->signer ? s->signer : "kubernetes.io/kubelet-serving", "username",
        s->user ? s->user : "system:node:w1", "groups", s->group ? s->group : "system:nodes",
        "system:authenticated", "usages", list, "request", base64, "status");
}

static enum kp_approve_verdict judge(const json_t *csr, char *why)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_approve_list list;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_approve_list_read(&list, kp_slice_of(nodes), arena, &err), 0, "%s",
                 err.message);
    return kp_approve_judge(&list, csr, why);
}

Test(approve, those_that_are_good)
{
    static const struct {
        struct request request;
        struct spec spec;
    } cases[] = {
        {{0}, {0}},
        {{.sans = "IP:10.77.0.12"}, {0}},
        {{.sans = "DNS:w1"}, {0}},
        {{.sans = "DNS:w1,IP:10.77.0.12,IP:fd77::12"}, {0}},
        {{.key = "P-384"}, {0}},
        {{.key = "P-521"}, {0}},
        {{.key = "RSA:2048"},
         {.usages = "[\"key encipherment\", \"digital signature\", \"server auth\"]"}},
        {{.common_name = "system:node:cp1", .sans = "DNS:cp1,IP:10.77.0.11"},
         {.user = "system:node:cp1"}},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char why[KP_APPROVE_WHY_MAX];
        kp_auto_json csr = make_csr(&cases[i].request, &cases[i].spec);
        cr_expect_eq(judge(csr, why), KP_APPROVE_GOOD, "%zu: %s", i, why);
    }
}

Test(approve, those_that_are_left_alone)
{
    static const struct {
        const char *flaw;
        struct request request;
        struct spec spec;
        const char *why;
    } cases[] = {
        {"a person", {0}, {.user = "kubernetes-admin"}, "kubernetes-admin, which is no node"},
        {"a bootstrap token",
         {0},
         {.user = "system:bootstrap:abcdef", .group = "system:bootstrappers"},
         "which is no node"},
        {"a service account", {0}, {.user = "system:serviceaccount:a:b"}, "which is no node"},
        {"no group of nodes", {0}, {.group = "system:masters"}, "not of the group system:nodes"},
        {"not in the inventory",
         {.common_name = "system:node:w9", .sans = "DNS:w9"},
         {.user = "system:node:w9"},
         "system:node:w9 is not a node of the inventory"},
        {"a name that begins alike",
         {.common_name = "system:node:w1.evil"},
         {.user = "system:node:w1.evil"},
         "not a node of the inventory"},
        {"escapes for a terminal", {0}, {.user = "system:node:\033[2Jw1"}, "system:node:?[2Jw1"},
        {"another node's subject",
         {.common_name = "system:node:cp1"},
         {0},
         "its subject is not O=system:nodes, CN=system:node:w1"},
        {"a master", {.organization = "system:masters"}, {0}, "its subject is not"},
        {"one more field", {.unit = "x"}, {0}, "its subject is not"},
        {"another node's name", {.sans = "DNS:w1,DNS:cp1"}, {0}, "the name cp1, which is not w1"},
        {"a name of the API",
         {.sans = "DNS:kubernetes.default.svc"},
         {0},
         "the name kubernetes.default.svc"},
        {"a wildcard", {.sans = "DNS:*"}, {0}, "the name *"},
        {"another node's address",
         {.sans = "DNS:w1,IP:10.77.0.11"},
         {0},
         "the address 10.77.0.11, which is not one of w1"},
        {"loopback", {.sans = "IP:127.0.0.1"}, {0}, "the address 127.0.0.1"},
        {"another IPv6 address", {.sans = "IP:fd77::11"}, {0}, "an address that is not one of w1"},
        {"a URI", {.sans = "URI:spiffe://x"}, {0}, "neither a DNS name nor an address"},
        {"mail", {.sans = "email:a@b.c"}, {0}, "neither a DNS name nor an address"},
        {"no name", {.sans = ""}, {0}, "it asks for no name"},
        {"a CA",
         {.extension = "basicConstraints", .value = "critical,CA:TRUE"},
         {0},
         "extensions beside its names"},
        {"a CA without names",
         {.sans = "", .extension = "basicConstraints", .value = "critical,CA:TRUE"},
         {0},
         "an extension that is not its names"},
        {"a client", {0}, {.usages = "[\"digital signature\", \"client auth\"]"}, "client auth"},
        {"a client too",
         {0},
         {.usages = "[\"digital signature\", \"server auth\", \"client auth\"]"},
         "client auth"},
        {"cert sign", {0}, {.usages = "[\"cert sign\"]"}, "\"cert sign\""},
        {"no usage", {0}, {.usages = "[]"}, "its usages are not"},
        {"a usage that is no text", {0}, {.usages = "[7]"}, "which a serving certificate"},
        {"RSA of 1024", {.key = "RSA:1024"}, {0}, "RSA of 1024 bits"},
        {"another curve", {.key = "secp256k1"}, {0}, "a curve other than"},
        {"P-224", {.key = "P-224"}, {0}, "a curve other than"},
        {"Ed25519", {.key = "ED25519"}, {0}, "neither EC nor RSA"},
        {"somebody else's key", {.foreign_key = true}, {0}, "not signed by its own key"},
        {"two requests", {.twice = true}, {0}, "not one PKCS#10 request"},
        {"no request", {.text = "hello"}, {0}, "not one PKCS#10 request"},
        {"empty", {.text = ""}, {0}, "not one PKCS#10 request"},
        {"a certificate",
         {.text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
         {0},
         "not one PKCS#10 request"},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char why[KP_APPROVE_WHY_MAX];
        kp_auto_json csr = make_csr(&cases[i].request, &cases[i].spec);
        cr_expect_eq(judge(csr, why), KP_APPROVE_REFUSED, "%s", cases[i].flaw);
        cr_expect(strstr(why, cases[i].why), "%s: %s", cases[i].flaw, why);
    }
}

Test(approve, a_request_that_is_too_large)
{
    char why[KP_APPROVE_WHY_MAX];
    kp_auto_free char *text = kp_alloc_array(KP_APPROVE_REQUEST_MAX + 1, 1);
    memset(text, 'A', KP_APPROVE_REQUEST_MAX);
    text[KP_APPROVE_REQUEST_MAX] = '\0';
    const struct request request = {.text = text};
    const struct spec spec = {0};
    kp_auto_json csr = make_csr(&request, &spec);
    cr_expect_eq(judge(csr, why), KP_APPROVE_REFUSED);
    cr_expect(strstr(why, "larger than"), "%s", why);
}

Test(approve, those_that_are_settled)
{
    static const struct request request = {0};
    static const struct spec other = {.signer = "kubernetes.io/kube-apiserver-client"}, own = {0};
    char why[KP_APPROVE_WHY_MAX];
    kp_auto_json foreign = make_csr(&request, &other);
    kp_auto_json denied = make_csr(&request, &own);
    kp_auto_json signed_ = make_csr(&request, &own);
    json_object_set_new(json_object_get(denied, "status"), "conditions",
                        json_pack("[{s:s}]", "type", "Denied"));
    json_object_set_new(json_object_get(signed_, "status"), "certificate", json_string("LS0t"));
    cr_expect_eq(judge(foreign, why), KP_APPROVE_SETTLED);
    cr_expect_eq(judge(denied, why), KP_APPROVE_SETTLED);
    cr_expect_eq(judge(signed_, why), KP_APPROVE_SETTLED);
}

Test(approve, lists_of_nodes_that_are_refused)
{
    static const struct {
        const char *flaw, *text;
    } cases[] = {
        {"not JSON", "hello"},
        {"another kind", "{\"kind\": \"x\", \"nodes\": []}"},
        {"no nodes", "{\"kind\": \"kpack.nodes/v1\"}"},
        {"a field more", "{\"kind\": \"kpack.nodes/v1\", \"nodes\": [], \"x\": 1}"},
        {"no address", "{\"kind\": \"kpack.nodes/v1\", \"nodes\": [{\"name\": \"a\"}]}"},
        {"no IP", "{\"kind\": \"kpack.nodes/v1\", \"nodes\": [{\"name\": \"a\", \"addresses\": "
                  "[\"b\"]}]}"},
        {"a bad name", "{\"kind\": \"kpack.nodes/v1\", \"nodes\": [{\"name\": \"A_\", "
                       "\"addresses\": []}]}"},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_arena) arena = kp_arena_new();
        struct kp_approve_list list;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(kp_approve_list_read(&list, kp_slice_of(cases[i].text), arena, &err), -1, "%s",
                     cases[i].flaw);
    }
}

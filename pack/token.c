/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/token.h"

#include "core/secret.h"

#include <stdio.h>

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

#define SLOTS_MAX 256
#define LABEL_MAX 255
#define ID_MAX 255
#define POINT_MAX 64

struct token {
    CK_FUNCTION_LIST *module;   /* of the token; released with `modules` */
    CK_FUNCTION_LIST **modules; /* ended by NULL */
    CK_SESSION_HANDLE session;
    bool open, single; /* single: one module by its path */
    CK_OBJECT_HANDLE key;
    char label[33]; /* of the token */
    P11KitUri *uri;
};

static void token_free(struct token *t)
{
    if (!t)
        return;
    if (t->open)
        t->module->C_CloseSession(t->session);
    if (t->modules && t->single) {
        p11_kit_module_finalize(t->modules[0]);
        p11_kit_module_release(t->modules[0]);
        kp_free(t->modules);
    } else if (t->modules) {
        p11_kit_modules_finalize_and_release(t->modules);
    }
    p11_kit_uri_free(t->uri);
    kp_free(t);
}
KP_DEFINE_AUTO(token);

static int refused(struct kp_err *err, CK_RV rv, const char *what)
{
    return kp_fail_as(err, KP_FAILED, "token", "the token: %s: %s", what, p11_kit_strerror(rv));
}

static int parse_uri(struct token *t, const char *text, struct kp_err *err)
{
    t->uri = p11_kit_uri_new();
    int got = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, t->uri);
    if (got != P11_KIT_URI_OK || p11_kit_uri_any_unrecognized(t->uri)) {
        kp_fail(err, KP_USAGE, "the pkcs11: URI is not right%s%s", got ? ": " : "",
                got ? p11_kit_uri_message(got) : "");
        return kp_hint(err, "for example pkcs11:token=site;object=release");
    }
    if (!p11_kit_uri_get_pin_value(t->uri) && !p11_kit_uri_get_pin_source(t->uri))
        return 0;
    kp_fail_as(err, KP_USAGE, "secret_in_argv", "a PIN must not be in the pkcs11: URI");
    return kp_hint(err, "leave it away: it is asked for, or read from --passphrase-fd FD");
}

static int load_modules(struct token *t, struct kp_err *err)
{
    const char *path = p11_kit_uri_get_module_path(t->uri);
    if (!path) {
        t->modules = p11_kit_modules_load_and_initialize(0);
        return t->modules ? 0 : refused(err, CKR_GENERAL_ERROR, "load the modules of p11-kit");
    }
    CK_FUNCTION_LIST *module = p11_kit_module_load(path, 0);
    if (!module)
        return kp_fail(err, KP_USAGE, "module %s: %s", path, p11_kit_message());
    t->single = true;
    t->modules = kp_alloc_array(2, sizeof(CK_FUNCTION_LIST *));
    t->modules[0] = module;
    CK_RV rv = p11_kit_module_initialize(module);
    return rv == CKR_OK ? 0 : refused(err, rv, "initialize the module");
}

/* CK_TOKEN_INFO's texts are padded with blanks, not ended. */
static void copy_padded(char *out, const unsigned char *text, size_t len)
{
    while (len && text[len - 1] == ' ')
        len--;
    memcpy(out, text, len);
    out[len] = '\0';
}

/* Tokens of one module that fit; the last of them into t. */
static size_t look_in(struct token *t, CK_FUNCTION_LIST *module, CK_SLOT_ID *slot)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    size_t found = 0;
    if (module->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        return 0;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (module->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
            !(info.flags & CKF_TOKEN_INITIALIZED) || !p11_kit_uri_match_token_info(t->uri, &info))
            continue;
        copy_padded(t->label, info.label, sizeof(info.label));
        t->module = module;
        *slot = slots[i];
        found++;
    }
    return found;
}

static int find_token(struct token *t, CK_SLOT_ID *slot, struct kp_err *err)
{
    size_t found = 0;
    for (CK_FUNCTION_LIST **m = t->modules; *m; m++) {
        CK_INFO info;
        if ((*m)->C_GetInfo(&info) == CKR_OK && p11_kit_uri_match_module_info(t->uri, &info))
            found += look_in(t, *m, slot);
    }
    if (found == 1)
        return 0;
    if (found)
        return kp_fail(err, KP_USAGE, "%zu tokens fit the URI; name one: pkcs11:token=LABEL;…",
                       found);
    kp_fail_as(err, KP_MISSING, "no_token", "no token fits the URI");
    return kp_hint(err,
                   "is it plugged in? p11-kit list-modules shows those that are there; another "
                   "module is named by ?module-path=/path/to/module.so");
}

static int login(struct token *t, int fd, struct kp_err *err)
{
    kp_auto_free char *prompt = kp_asprintf("PIN of token %s: ", t->label);
    struct kp_secret_question question = {"the PIN", prompt, "--passphrase-fd"};
    char *pin = NULL;
    if (kp_secret_read(&pin, fd, &question, err) < 0)
        return -1;
    CK_RV rv = t->module->C_Login(t->session, CKU_USER, (unsigned char *)pin, strlen(pin));
    kp_secret_free(pin);
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return 0;
    if (rv == CKR_PIN_LOCKED)
        return kp_fail_as(err, KP_USAGE, "pin_locked",
                          "token %s: too many wrong PINs, it is locked", t->label);
    if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE)
        return kp_fail_as(err, KP_USAGE, "wrong_pin", "token %s: the PIN is wrong", t->label);
    return refused(err, rv, "log in");
}

/* Objects of that class which fit the URI's own words (object, id) and, where given, `id`. */
static int find_objects(struct token *t, CK_OBJECT_CLASS class, const CK_ATTRIBUTE *id,
                        CK_OBJECT_HANDLE *out, CK_ULONG *count, struct kp_err *err)
{
    CK_ATTRIBUTE wanted[4] = {{CKA_CLASS, &class, sizeof(class)}};
    CK_ULONG n = 1;
    static const CK_ATTRIBUTE_TYPE words[] = {CKA_LABEL, CKA_ID};
    if (id)
        wanted[n++] = *id;
    for (size_t i = 0; !id && i < KP_COUNT(words); i++) {
        const CK_ATTRIBUTE *word = p11_kit_uri_get_attribute(t->uri, words[i]);
        if (word)
            wanted[n++] = *word;
    }
    CK_RV rv = t->module->C_FindObjectsInit(t->session, wanted, n);
    if (rv == CKR_OK) {
        rv = t->module->C_FindObjects(t->session, out, 2, count);
        t->module->C_FindObjectsFinal(t->session);
    }
    return rv == CKR_OK ? 0 : refused(err, rv, "look for the key");
}

static int find_key(struct token *t, struct kp_err *err)
{
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    CK_KEY_TYPE type = 0;
    CK_ATTRIBUTE asked = {CKA_KEY_TYPE, &type, sizeof(type)};
    if (find_objects(t, CKO_PRIVATE_KEY, NULL, found, &count, err) < 0)
        return -1;
    if (!count) {
        kp_fail_as(err, KP_MISSING, "no_token", "token %s has no private key that fits the URI",
                   t->label);
        return kp_hint(err, "pkcs11-tool --login --list-objects shows what it has");
    }
    if (count > 1)
        return kp_fail(err, KP_USAGE,
                       "several keys of token %s fit the URI; name one: pkcs11:token=%s;object=…",
                       t->label, t->label);
    t->key = found[0];
    CK_RV rv = t->module->C_GetAttributeValue(t->session, t->key, &asked, 1);
    if (rv != CKR_OK || type != CKK_EC_EDWARDS) {
        kp_fail_as(err, KP_USAGE, "wrong_key_type", "token %s: that key is no Ed25519 key",
                   t->label);
        return kp_hint(err, "make one, where the token can: pkcs11-tool --keypairgen --key-type "
                            "EC:edwards25519 --label NAME --id 01");
    }
    return 0;
}

/* Either the 32 bytes, or a DER OCTET STRING of them (PKCS#11 3.0 has had both). */
static bool take_point(const uint8_t *point, CK_ULONG len, uint8_t out[KP_ED25519_KEY])
{
    if (len == KP_ED25519_KEY + 2 && point[0] == 0x04 && point[1] == KP_ED25519_KEY)
        point += 2;
    else if (len != KP_ED25519_KEY)
        return false;
    memcpy(out, point, KP_ED25519_KEY);
    return true;
}

static int read_public(struct token *t, uint8_t out[KP_ED25519_KEY], char **name,
                       struct kp_err *err)
{
    uint8_t id[ID_MAX], label[LABEL_MAX], point[POINT_MAX];
    CK_ATTRIBUTE asked[] = {{CKA_ID, id, sizeof(id)}, {CKA_LABEL, label, sizeof(label)}};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    CK_RV rv = t->module->C_GetAttributeValue(t->session, t->key, asked, 2);
    if (rv != CKR_OK)
        return refused(err, rv, "read the key's id and label");
    if (find_objects(t, CKO_PUBLIC_KEY, &asked[0], found, &count, err) < 0)
        return -1;
    CK_ATTRIBUTE value = {CKA_EC_POINT, point, sizeof(point)};
    if (count != 1 || t->module->C_GetAttributeValue(t->session, found[0], &value, 1) != CKR_OK ||
        !take_point(point, value.ulValueLen, out)) {
        kp_fail(err, KP_USAGE,
                "token %s: there must be one Ed25519 public key with the id of the private one",
                t->label);
        return kp_hint(err, "pkcs11-tool --list-objects --type pubkey shows those it has");
    }
    *name = asked[1].ulValueLen ? kp_strndup((const char *)label, asked[1].ulValueLen)
                                : kp_strdup(t->label);
    return 0;
}

static int sign(void *user, struct kp_slice message, uint8_t out[KP_ED25519_SIGNATURE],
                struct kp_err *err)
{
    struct token *t = user;
    CK_MECHANISM mechanism = {CKM_EDDSA, NULL, 0};
    CK_ULONG len = KP_ED25519_SIGNATURE;
    CK_RV rv = t->module->C_SignInit(t->session, &mechanism, t->key);
    if (rv == CKR_MECHANISM_INVALID)
        return kp_fail_as(err, KP_USAGE, "wrong_key_type", "token %s does not do Ed25519",
                          t->label);
    if (rv != CKR_OK)
        return refused(err, rv, "begin to sign");
    // in one part: Ed25519 goes over the message twice
    rv = t->module->C_Sign(t->session, (unsigned char *)(uintptr_t)message.ptr, message.len, out,
                           &len);
    if (rv == CKR_DATA_LEN_RANGE || rv == CKR_HOST_MEMORY || rv == CKR_DEVICE_MEMORY) {
        kp_fail_as(err, KP_FAILED, "token_length",
                   "token %s refuses a message of %zu bytes: bundle.json is too long for it",
                   t->label, message.len);
        return kp_hint(err, "sign with another token or a key file; what is signed is bundle.json "
                            "itself, never a digest of it");
    }
    if (rv != CKR_OK)
        return refused(err, rv, "sign");
    if (len != KP_ED25519_SIGNATURE)
        return kp_fail(err, KP_FAILED, "token %s: a signature of %lu bytes, not 64", t->label, len);
    return 0;
}

static void release(void *user)
{
    token_free(user);
}

int kp_token_key(struct kp_key **out, char **name, const char *uri, int fd, struct kp_err *err)
{
    kp_auto(token) t = kp_alloc(sizeof(*t));
    uint8_t public_key[KP_ED25519_KEY];
    CK_SLOT_ID slot = 0;
    if (parse_uri(t, uri, err) < 0 || load_modules(t, err) < 0 || find_token(t, &slot, err) < 0)
        return kp_wrap(err, "--key");
    CK_RV rv = t->module->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &t->session);
    if (rv != CKR_OK)
        return refused(err, rv, "open a session");
    t->open = true;
    if (login(t, fd, err) < 0 || find_key(t, err) < 0 || read_public(t, public_key, name, err) < 0)
        return kp_wrap(err, "--key");
    struct kp_key_elsewhere elsewhere = {.sign = sign, .release = release, .user = kp_steal(&t)};
    *out = kp_key_from_elsewhere(public_key, &elsewhere);
    return 0;
}

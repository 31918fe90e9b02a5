/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#11 module for test_sign.sh: SoftHSM, but it refuses to sign more than 1024 bytes, or
 * (built with -DLIES) flips a bit of each signature. */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>

static CK_FUNCTION_LIST ours, *theirs;

static CK_RV sign(CK_SESSION_HANDLE session, unsigned char *data, unsigned long len,
                  unsigned char *signature, unsigned long *signature_len)
{
#ifdef LIES
    CK_RV rv = theirs->C_Sign(session, data, len, signature, signature_len);
    signature[0] ^= 1;
    return rv;
#else
    return len > 1024 ? CKR_DATA_LEN_RANGE
                      : theirs->C_Sign(session, data, len, signature, signature_len);
#endif
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    void *module = dlopen(SOFTHSM, RTLD_NOW);
    CK_C_GetFunctionList get =
        module ? (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList") : 0;
    if (!get || get(&theirs) != CKR_OK)
        return CKR_GENERAL_ERROR;
    ours = *theirs;
    ours.C_Sign = sign;
    *list = &ours;
    return CKR_OK;
}

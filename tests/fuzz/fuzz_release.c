/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as YAML and as a release file: refused with a word, or all that was promised is there.
 */
#include "manifests/release.h"
#include "manifests/yaml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_release(const struct kp_releases *releases)
{
    const struct kp_release *release;
    const struct kp_release_part *network;
    struct kp_err err = KP_ERR_INIT;
    if (kp_releases_find(releases, releases->minor, &release, &err) < 0)
        return; // a minor that no --k8s can name
    for (size_t i = 0; i < release->core.file_count; i++)
        if (!release->core.files[i].sum_count || !release->core.files[i].roles ||
            release->core.files[i].installs[0].path[0] != '/')
            abort();
    for (size_t i = 0; i < release->network_count; i++)
        if (kp_release_network(release, release->networks[i].name, &network, &err) < 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_releases) releases = NULL;
    kp_auto(kp_yaml_document) document = NULL;
    struct kp_slice text = {(const char *)data, size};
    struct kp_err err = KP_ERR_INIT;
    if (kp_yaml_parse(&document, text, "x", &err) < 0 && (!err.message[0] || err.code == KP_OK))
        abort();
    err = KP_ERR_INIT;
    if (kp_releases_parse(&releases, text, "x", &err) == 0)
        check_release(releases);
    else if (!err.message[0])
        abort();
    return 0;
}

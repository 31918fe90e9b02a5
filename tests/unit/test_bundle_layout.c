/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/layout.h"
#include "bundle/names.h"

#include <criterion/criterion.h>
#include <zstd.h>

static const size_t sizes[] = {1, 511, 512, 513, 131071, 131072, 131073, 262144, 1048576, 1048577};

/* An independent decoder reads what the arithmetic lays out. */
Test(bundle_layout, zstd_decodes_an_entry_to_tar_header_content_and_padding)
{
    for (size_t i = 0; i < KP_COUNT(sizes); i++) {
        size_t padded = kp_layout_padded(sizes[i]), stored_len = kp_layout_entry_size(sizes[i]);
        kp_auto_free char *content = kp_alloc(sizes[i]);
        kp_auto_free uint8_t *stored = kp_alloc(stored_len);
        kp_auto_free char *plain = kp_alloc(512 + padded);
        memset(content, 'x', sizes[i]);
        kp_layout_entry_write(stored, "a", content, sizes[i]);
        size_t n = ZSTD_decompress(plain, 512 + padded, stored, stored_len);
        cr_assert_eq(n, 512 + padded, "%zu bytes: %zu", sizes[i], n);
        cr_expect_eq(memcmp(plain + 512, content, sizes[i]), 0);
        for (size_t k = 512 + sizes[i]; k < n; k++)
            cr_assert_eq(plain[k], 0);
    }
}

Test(bundle_layout, window_is_128_KiB)
{
    uint8_t head[KP_ENTRY_HEAD_MAX];
    kp_layout_entry_head(head, "a", 1);
    cr_expect_eq(ZSTD_getFrameContentSize(head, sizeof(head)), 512);
    cr_expect_eq(ZSTD_getFrameContentSize(head + KP_HEADER_FRAME, KP_FRAME_HEADER), 512);
    cr_expect_eq(head[4], 0xC0);
    cr_expect_eq(head[5], 0x38);
}

Test(bundle_layout, tar_header_of_a_known_entry)
{
    uint8_t head[KP_ENTRY_HEAD_MAX];
    const char *tar = (const char *)head + KP_FRAME_HEADER + KP_BLOCK_HEADER;
    cr_assert_eq(kp_layout_entry_head(head, "oci-layout", 31), KP_ENTRY_HEAD_MAX);
    cr_expect_str_eq(tar, "oci-layout");
    cr_expect_str_eq(tar + 100, "0000644");
    cr_expect_str_eq(tar + 108, "0000000");
    cr_expect_str_eq(tar + 124, "00000000037");
    cr_expect_str_eq(tar + 136, "00000000000");
    cr_expect_eq(memcmp(tar + 148, "007755\0 ", 8), 0, "%.8s", tar + 148);
    cr_expect_eq(tar[156], '0');
    cr_expect_eq(memcmp(tar + 257, "ustar\00000", 8), 0);
}

Test(bundle_layout, empty_entry_has_no_content_frame)
{
    uint8_t head[KP_ENTRY_HEAD_MAX];
    cr_expect_eq(kp_layout_entry_head(head, "a", 0), KP_HEADER_FRAME);
    cr_expect_eq(kp_layout_entry_size(0), KP_HEADER_FRAME);
    cr_expect_eq(kp_layout_blocks(0), 0);
    cr_expect_eq(kp_layout_leaves(0), 0);
}

Test(bundle_layout, sizes_of_parts_add_up)
{
    for (size_t i = 0; i < KP_COUNT(sizes); i++) {
        uint64_t total = KP_ENTRY_HEAD_MAX, content = 0, blocks = kp_layout_blocks(sizes[i]);
        for (uint64_t k = 0; k < blocks; k++) {
            struct kp_block block = kp_layout_block(sizes[i], k);
            cr_expect_eq(kp_layout_block_offset(k), total);
            cr_expect_eq(block.header[0] & 1, k + 1 == blocks);
            cr_expect_eq(block.header[0] & 6, 0); // raw
            total += kp_layout_block_stored(&block);
            content += block.content;
        }
        cr_expect_eq(total, kp_layout_entry_size(sizes[i]));
        cr_expect_eq(content, sizes[i]);
    }
}

Test(bundle_layout, largest_entry_fits_the_size_field)
{
    uint8_t head[KP_ENTRY_HEAD_MAX];
    uint64_t size;
    kp_layout_entry_head(head, "a", KP_ENTRY_SIZE_MAX);
    cr_assert(kp_layout_claimed_size(head, &size));
    cr_expect_eq(size, KP_ENTRY_SIZE_MAX);
}

struct name_case {
    const char *text, *why;
};

static void expect_all(bool (*rule)(const char *), const struct name_case *cases, size_t n,
                       bool good)
{
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(rule(cases[i].text), good, "\"%s\": %s", cases[i].text, cases[i].why);
}

Test(bundle_layout, targets)
{
    static const struct name_case good[] = {
        {"/usr/local/bin/kubelet", "usual"},
        {"/opt/cni/bin/host-local", "dash"},
        {"/etc/systemd/system/getty@tty1.service", "at sign"},
        {"/a", "short"},
        {"/a/..b/c..", "dots in a name"},
    };
    static const struct name_case bad[] = {
        {"", "empty"},
        {"/", "root"},
        {"usr/bin/x", "relative"},
        {"/usr/../etc/passwd", "dot dot"},
        {"/usr/bin/..", "dot dot at the end"},
        {"/usr/./bin", "dot"},
        {"/usr//bin", "double slash"},
        {"/usr/bin/", "slash at the end"},
        {"/usr/bin/a b", "blank"},
        {"/usr/bin/a\nb", "line feed"},
        {"/usr/bin/\xc3\xa9", "not ASCII"},
        {"/usr/bin/$x", "dollar"},
        {"/usr/bin/a\\b", "backslash"},
        {"/usr/bin/a;b", "semicolon"},
        {"/usr/bin/*", "star"},
    };
    char part[300];
    expect_all(kp_target_ok, good, KP_COUNT(good), true);
    expect_all(kp_target_ok, bad, KP_COUNT(bad), false);
    memset(part, 'a', sizeof(part));
    part[0] = '/';
    part[256] = '\0';
    cr_expect(kp_target_ok(part), "255 bytes");
    part[256] = 'a';
    part[257] = '\0';
    cr_expect_not(kp_target_ok(part), "256 bytes");
}

Test(bundle_layout, references)
{
    static const struct name_case good[] = {
        {"registry.k8s.io/pause:3.9", "usual"},
        {"docker.io/flannel/flannel:v0.27.4", "deep"},
        {"localhost/x:1", "localhost"},
        {"host:5000/x/y:1", "port"},
        {"quay.io/a/b@sha256:"
         "1111111111111111111111111111111111111111111111111111111111111111",
         "digest"},
        {"quay.io/a/b:v1@sha256:"
         "1111111111111111111111111111111111111111111111111111111111111111",
         "both"},
    };
    static const struct name_case bad[] = {
        {"", "empty"},
        {"pause:3.9", "no host"},
        {"library/pause:3.9", "host without a dot"},
        {"registry.k8s.io/pause", "no tag"},
        {"registry.k8s.io/pause:", "empty tag"},
        {"registry.k8s.io/:3.9", "no repository"},
        {"registry.k8s.io//pause:3.9", "empty part"},
        {"registry.k8s.io/Pause:3.9", "upper case"},
        {"registry.k8s.io/../pause:3.9", "dot dot"},
        {"registry.k8s.io/pause:3.9 ", "blank"},
        {"registry.k8s.io/pause@sha256:11", "short digest"},
        {"registry.k8s.io/pause@md5:11", "other digest"},
        {"https://registry.k8s.io/pause:3.9", "scheme"},
    };
    expect_all(kp_reference_ok, good, KP_COUNT(good), true);
    expect_all(kp_reference_ok, bad, KP_COUNT(bad), false);
}

Test(bundle_layout, kubernetes_versions)
{
    static const struct name_case good[] = {{"v1.30.14", "usual"}, {"v1.31.0-rc.1", "candidate"}};
    static const struct name_case bad[] = {{"1.30.14", "no v"},     {"v1.30", "two parts"},
                                           {"v1..3", "empty part"}, {"v1.30.x", "letter"},
                                           {"v", "nothing"},        {"v1.30.14/../x", "slash"}};
    expect_all(kp_kubernetes_ok, good, KP_COUNT(good), true);
    expect_all(kp_kubernetes_ok, bad, KP_COUNT(bad), false);
}

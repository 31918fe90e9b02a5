/* SPDX-License-Identifier: Apache-2.0 */
#include "package_fixture.h"

#include <stdio.h>
#include <string.h>

static const char zeros[1024];

static void add_tar_entry(struct kp_buf *tar, const char *name, const char *content)
{
    char header[512] = "";
    size_t len = strlen(content);
    unsigned sum = 0;
    snprintf(header, 100, "%s", name);
    memcpy(header + 100, "0000755", 8);
    memcpy(header + 108, "0000000", 8);
    memcpy(header + 116, "0000000", 8);
    snprintf(header + 124, 12, "%011o", (unsigned)len);
    memcpy(header + 136, "00000000000", 12);
    memset(header + 148, ' ', 8);
    header[156] = '0';
    memcpy(header + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof(header); i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    kp_buf_add(tar, header, sizeof(header));
    kp_buf_add(tar, content, len);
    kp_buf_add(tar, zeros, (512 - len % 512) % 512);
}

static void add_member(struct kp_buf *out, const char *name, struct kp_slice data)
{
    kp_buf_addf(out, "%-16s%-12d%-6d%-6d%-8s%-10zu`\n", name, 0, 0, 0, "100644", data.len);
    kp_buf_add(out, data.ptr, data.len);
    if (data.len & 1)
        kp_buf_adds(out, "\n");
}

void package_deb(struct kp_buf *out, const char *control, const char *const *entries)
{
    kp_auto_value(kp_buf) head = KP_BUF(65536), data = KP_BUF(65536);
    if (control)
        add_tar_entry(&head, "./control", control);
    kp_buf_add(&head, zeros, sizeof(zeros));
    for (; *entries; entries++)
        add_tar_entry(&data, *entries, "program");
    kp_buf_add(&data, zeros, sizeof(zeros));
    kp_buf_adds(out, "!<arch>\n");
    add_member(out, "debian-binary", kp_slice_of("2.0\n"));
    add_member(out, "control.tar", kp_buf_slice(&head));
    add_member(out, "data.tar", kp_buf_slice(&data));
}

static void add_cpio_entry(struct kp_buf *out, const char *name, unsigned mode, const char *content)
{
    size_t len = strlen(content), name_len = strlen(name) + 1;
    kp_buf_addf(out, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 1U, mode, 0U,
                0U, 1U, 0U, len, 0U, 0U, 0U, 0U, name_len, 0U);
    kp_buf_add(out, name, name_len);
    kp_buf_add(out, zeros, (4 - (110 + name_len) % 4) % 4);
    kp_buf_add(out, content, len);
    kp_buf_add(out, zeros, (4 - len % 4) % 4);
}

void package_rpm(struct kp_buf *out, const char *const *entries)
{
    // Lead: magic, version 3.0, binary; then signature and header, both empty.
    static const char lead[10] = {'\xed', '\xab', '\xee', '\xdb', 3, 0, 0, 0, 0, 1};
    static const char empty[16] = {'\x8e', '\xad', '\xe8', 1};
    kp_buf_add(out, lead, sizeof(lead));
    kp_buf_add(out, zeros, 96 - sizeof(lead));
    kp_buf_add(out, empty, sizeof(empty));
    kp_buf_add(out, empty, sizeof(empty));
    for (; *entries; entries++)
        add_cpio_entry(out, *entries, 0100755, "program");
    add_cpio_entry(out, "TRAILER!!!", 0, "");
}

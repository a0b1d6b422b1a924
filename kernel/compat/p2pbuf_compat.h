/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only place that asks for a kernel version.
 *
 * Older kernels lack what this project stands on: io_uring kernel buffers
 * from modules, iommu_get_domain_for_dev() and friends for modules, and
 * dma_buf_invalidate_mappings() under this name (all in 7.3).
 */
#ifndef P2PBUF_COMPAT_H
#define P2PBUF_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
#error "p2pbuf needs Linux 7.3 or newer"
#endif

#endif /* P2PBUF_COMPAT_H */

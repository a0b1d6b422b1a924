/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page-less sg tables: what dma_buf_phys_vec_to_sgt() makes of BAR memory.
 */
#ifndef P2PBUF_COMPAT_SGT_H
#define P2PBUF_COMPAT_SGT_H

#include <linux/dma-buf-mapping.h>
#include <linux/scatterlist.h>

/*
 * dma_buf_phys_vec_to_sgt() hides the CPU list by setting orig_nents to 0;
 * no table with pages is like that.
 */
static inline bool p2pbuf_compat_sgt_is_mmio(const struct sg_table *sgt)
{
	return !sgt->orig_nents;
}

/*
 * In 7.3 dma_buf_free_sgt() (drivers/dma-buf/dma-buf-mapping.c:254) calls
 * sg_free_table(), which frees by orig_nents. That is 0 (see above), so the
 * scatterlist of every mapping would leak. nents is what was allocated; a
 * kernel that restores orig_nents by itself sets it to the same.
 */
static inline void
p2pbuf_compat_sgt_free(struct dma_buf_attachment *attach, struct sg_table *sgt,
		       enum dma_data_direction dir)
{
	sgt->orig_nents = sgt->nents;
	dma_buf_free_sgt(attach, sgt, dir);
}

#endif /* P2PBUF_COMPAT_SGT_H */

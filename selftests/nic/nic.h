/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The test NIC: rxe that does DMA as a PCI function would.
 *
 * rxe copies with the CPU and has no DMA device, so the kernel hands it CPU
 * addresses, and a dma-buf cannot be attached at all. Here a PCI function is
 * its DMA device. Everybody who maps memory for the NIC, above all the RDMA
 * core's umem code, gets real DMA addresses of that function: bus addresses
 * behind a switch, IOVAs behind an IOMMU. When the NIC has to copy, it finds
 * out where such an address leads and looks there.
 *
 * Included before every file of the NIC: it takes the place of the helpers with
 * which rxe reads its CPU addresses.
 */
#ifndef P2PBUF_NIC_H
#define P2PBUF_NIC_H

#include <linux/dma-buf.h>
#include <linux/highmem.h>
#include <linux/types.h>

#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>

struct rxe_mr;

/* device.c */
int p2pbuf_nic_register(struct ib_device *dev, const char *name);
void p2pbuf_nic_exit(void);
phys_addr_t p2pbuf_nic_dma_to_phys(dma_addr_t addr);

/* Only of system memory: what the kernel sends from and receives into. */
static inline void *p2pbuf_nic_dma_to_ptr(u64 addr)
{
	return phys_to_virt(p2pbuf_nic_dma_to_phys(addr));
}

/* refuse.c */
void p2pbuf_nic_refuse_init(struct ib_device *dev);

/* bar.c */
struct page *p2pbuf_nic_dma_to_page(u64 addr);
void *p2pbuf_nic_page_open(struct page *page);
void p2pbuf_nic_bars_exit(void);

static inline void p2pbuf_nic_page_close(const void *p)
{
	/* What was written to a BAR leaves the CPU before anybody is told. */
	wmb();
}

#define ib_virt_dma_to_ptr(addr)	p2pbuf_nic_dma_to_ptr(addr)
#define ib_virt_dma_to_page(addr)	p2pbuf_nic_dma_to_page(addr)
#define kmap_local_page(page)		p2pbuf_nic_page_open(page)
#undef kunmap_local
#define kunmap_local(p)			p2pbuf_nic_page_close(p)

/* dmabuf.c */
struct ib_mr *p2pbuf_nic_reg_mr(struct ib_pd *pd, u64 offset, u64 length,
				u64 iova, int fd, int access,
				struct ib_dmah *dmah,
				struct uverbs_attr_bundle *attrs);
void p2pbuf_nic_release_umem(struct ib_umem *umem);
int p2pbuf_nic_copy(struct rxe_mr *mr, u64 iova, void *data,
		    unsigned int length, bool to_mr);
int p2pbuf_nic_atomic(struct rxe_mr *mr, u64 iova, int opcode, u64 compare,
		      u64 swap_add, u64 *old);

#endif /* P2PBUF_NIC_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * Memory regions of dma-bufs, in the three flavours that the RDMA core offers
 * to drivers:
 *
 *	dynamic		follows the exporter's moves (mlx5)
 *	revocable	pinned, until the exporter takes it back (irdma)
 *	pinned		for as long as it is registered (bnxt_re, efa, ionic, mana)
 *
 * A region has a window while it has DMA addresses: where the CPU sees the
 * memory that they lead to. The NIC copies inside nic->lock; who closes the
 * window waits there for the copy that is under way, and thereafter the memory
 * is not touched. So no fence is needed.
 *
 * Windows are opened and closed under the resv. Lock order: resv, nic->lock;
 * nothing is allocated inside nic->lock.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/vmalloc.h>

#include <rdma/ib_umem.h>
#include <rdma/iter.h>

#include "rxe.h"
#include "rxe_loc.h"

#define P2PBUF_NIC_ACCESS \
	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | \
	 IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC | \
	 IB_ACCESS_MW_BIND | IB_ACCESS_RELAXED_ORDERING)

enum p2pbuf_nic_flavour {
	P2PBUF_NIC_DYNAMIC,
	P2PBUF_NIC_REVOCABLE,
	P2PBUF_NIC_PINNED,
};

static const char * const p2pbuf_nic_flavours[] = {
	[P2PBUF_NIC_DYNAMIC] = "dynamic",
	[P2PBUF_NIC_REVOCABLE] = "revocable",
	[P2PBUF_NIC_PINNED] = "pinned",
};

static int p2pbuf_nic_flavour;

static int p2pbuf_nic_flavour_set(const char *text,
				  const struct kernel_param *kp)
{
	int flavour = sysfs_match_string(p2pbuf_nic_flavours, text);

	if (flavour < 0)
		return flavour;
	WRITE_ONCE(p2pbuf_nic_flavour, flavour);
	return 0;
}

static int p2pbuf_nic_flavour_get(char *text, const struct kernel_param *kp)
{
	return sysfs_emit(text, "%s\n",
			  p2pbuf_nic_flavours[READ_ONCE(p2pbuf_nic_flavour)]);
}

static const struct kernel_param_ops p2pbuf_nic_flavour_ops = {
	.set = p2pbuf_nic_flavour_set,
	.get = p2pbuf_nic_flavour_get,
};
module_param_cb(flavour, &p2pbuf_nic_flavour_ops, NULL, 0644);
MODULE_PARM_DESC(flavour, "of dma-bufs registered from now on: dynamic, revocable, pinned");

MODULE_IMPORT_NS("DMA_BUF");

struct p2pbuf_nic_mr {
	struct ib_umem_dmabuf *umem;
	enum p2pbuf_nic_flavour flavour;

	/* held to look through the window, and with the resv to change open */
	struct mutex lock;
	bool open;
	/* with the resv, while not open */
	struct iosys_map window;
};

static struct p2pbuf_nic_mr *p2pbuf_nic_mr(struct rxe_mr *mr)
{
	return to_ib_umem_dmabuf(mr->umem)->private;
}

/* System memory: any pages, seen as one range. */
static int p2pbuf_nic_window_pages(struct p2pbuf_nic_mr *nic,
				   const phys_addr_t *phys, unsigned int count)
{
	struct page **pages;
	unsigned int i;
	void *p;

	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		pages[i] = phys_to_page(phys[i]);
	p = vmap(pages, count, VM_MAP, PAGE_KERNEL);
	kvfree(pages);
	if (!p)
		return -ENOMEM;

	iosys_map_set_vaddr(&nic->window, p);
	return 0;
}

/* A BAR: exporters lay a buffer out in one range. */
static int p2pbuf_nic_window_io(struct p2pbuf_nic_mr *nic,
				const phys_addr_t *phys, unsigned int count)
{
	unsigned int i;
	void __iomem *p;

	for (i = 1; i < count; i++)
		if (phys[i] != phys[i - 1] + PAGE_SIZE)
			return -EOPNOTSUPP;

	p = ioremap_wc(phys[0], (size_t)count << PAGE_SHIFT);
	if (!p)
		return -ENOMEM;
	iosys_map_set_vaddr_iomem(&nic->window, p);
	return 0;
}

/* The umem has its DMA addresses. */
static int p2pbuf_nic_window_open(struct p2pbuf_nic_mr *nic)
{
	struct ib_umem *umem = &nic->umem->umem;
	unsigned int count, i = 0;
	struct ib_block_iter block;
	phys_addr_t *phys;
	int ret = -EFAULT;

	dma_resv_assert_held(nic->umem->attach->dmabuf->resv);

	count = ib_umem_num_dma_blocks(umem, PAGE_SIZE);
	phys = kvmalloc_array(count, sizeof(*phys), GFP_KERNEL);
	if (!phys)
		return -ENOMEM;

	rdma_umem_for_each_dma_block(umem, &block, PAGE_SIZE) {
		phys[i] = p2pbuf_nic_dma_to_phys(rdma_block_iter_dma_address(&block));
		if (!phys[i++])
			goto free_phys;
	}

	if (page_is_ram(phys[0] >> PAGE_SHIFT))
		ret = p2pbuf_nic_window_pages(nic, phys, count);
	else
		ret = p2pbuf_nic_window_io(nic, phys, count);

	mutex_lock(&nic->lock);
	nic->open = !ret;
	mutex_unlock(&nic->lock);

free_phys:
	kvfree(phys);
	return ret;
}

/* Idempotent. Nobody looks through the window when this returns. */
static void p2pbuf_nic_window_close(struct p2pbuf_nic_mr *nic)
{
	bool open;

	dma_resv_assert_held(nic->umem->attach->dmabuf->resv);

	mutex_lock(&nic->lock);
	open = nic->open;
	nic->open = false;
	mutex_unlock(&nic->lock);

	if (open && nic->window.is_iomem)
		iounmap(nic->window.vaddr_iomem);
	else if (open)
		vunmap(nic->window.vaddr);
}

/* The exporter is about to move the memory: map again with the next access. */
static void p2pbuf_nic_invalidate(struct dma_buf_attachment *attach)
{
	struct ib_umem_dmabuf *umem = attach->importer_priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	/* attached, but not yet a region */
	if (!umem->private)
		return;
	p2pbuf_nic_window_close(umem->private);
	ib_umem_dmabuf_unmap_pages(umem);
}

static const struct dma_buf_attach_ops p2pbuf_nic_dynamic_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = p2pbuf_nic_invalidate,
};

/* The exporter takes the memory back; the core unmaps. Also at the end. */
static void p2pbuf_nic_revoke(void *priv)
{
	p2pbuf_nic_window_close(priv);
}

static int p2pbuf_nic_map(struct p2pbuf_nic_mr *nic)
{
	int ret;

	dma_resv_assert_held(nic->umem->attach->dmabuf->resv);

	/* The exporter may move the memory for it, and call us back. */
	ret = ib_umem_dmabuf_map_pages(nic->umem);
	if (ret || nic->open)
		return ret;
	return p2pbuf_nic_window_open(nic);
}

/* Returns with nic->lock held and the window open, or an error. */
static int p2pbuf_nic_lock_window(struct p2pbuf_nic_mr *nic)
{
	struct dma_resv *resv = nic->umem->attach->dmabuf->resv;
	int ret;

	mutex_lock(&nic->lock);
	if (nic->open)
		return 0;
	mutex_unlock(&nic->lock);
	if (nic->flavour != P2PBUF_NIC_DYNAMIC)
		return -ENODEV;

	dma_resv_lock(resv, NULL);
	ret = p2pbuf_nic_map(nic);
	/* before the resv goes, so that nobody closes it in between */
	if (!ret)
		mutex_lock(&nic->lock);
	dma_resv_unlock(resv);
	return ret;
}

static u64 p2pbuf_nic_window_offset(struct rxe_mr *mr, u64 iova)
{
	return iova - ALIGN_DOWN(mr->ibmr.iova, PAGE_SIZE);
}

/**
 * p2pbuf_nic_copy() - what a NIC's DMA engine does
 * @mr: memory region of a dma-buf
 * @iova: address in it; the range was checked
 * @data: in kernel memory
 * @length: in bytes
 * @to_mr: from @data to the region, else the other way round
 *
 * Context: the NIC's workers. Sleeps.
 * Return: 0; -ENODEV when it was revoked; or why it could not be mapped.
 */
int p2pbuf_nic_copy(struct rxe_mr *mr, u64 iova, void *data,
		    unsigned int length, bool to_mr)
{
	u64 offset = p2pbuf_nic_window_offset(mr, iova);
	struct p2pbuf_nic_mr *nic = p2pbuf_nic_mr(mr);
	int ret;

	ret = p2pbuf_nic_lock_window(nic);
	if (ret)
		return ret;

	if (to_mr)
		iosys_map_memcpy_to(&nic->window, offset, data, length);
	else
		iosys_map_memcpy_from(data, &nic->window, offset, length);
	/* before somebody is told that it is there */
	wmb();

	mutex_unlock(&nic->lock);
	return 0;
}

/**
 * p2pbuf_nic_atomic() - compare and swap, fetch and add, atomic write
 * @mr: memory region of a dma-buf
 * @iova: address in it
 * @opcode: IB_OPCODE_RC_COMPARE_SWAP, _FETCH_ADD or _ATOMIC_WRITE
 * @compare: compare and swap: store only if this is there
 * @swap_add: what to store or to add
 * @old: out, what was there; may be NULL
 *
 * Atomic towards other atomics of the NIC, as verbs define it.
 *
 * Context: the NIC's workers. Sleeps.
 * Return: state of the responder.
 */
int p2pbuf_nic_atomic(struct rxe_mr *mr, u64 iova, int opcode, u64 compare,
		      u64 swap_add, u64 *old)
{
	u64 offset = p2pbuf_nic_window_offset(mr, iova);
	struct p2pbuf_nic_mr *nic = p2pbuf_nic_mr(mr);
	u64 value;

	if (mr_check_range(mr, iova, sizeof(value)))
		return RESPST_ERR_RKEY_VIOLATION;
	if (!IS_ALIGNED(offset, sizeof(value)))
		return RESPST_ERR_MISALIGNED_ATOMIC;
	if (p2pbuf_nic_lock_window(nic))
		return RESPST_ERR_RKEY_VIOLATION;

	spin_lock_bh(&atomic_ops_lock);
	value = iosys_map_rd(&nic->window, offset, u64);
	if (old)
		*old = value;
	if (opcode == IB_OPCODE_RC_FETCH_ADD)
		value += swap_add;
	else if (opcode != IB_OPCODE_RC_COMPARE_SWAP || value == compare)
		value = swap_add;
	iosys_map_wr(&nic->window, offset, u64, value);
	spin_unlock_bh(&atomic_ops_lock);

	mutex_unlock(&nic->lock);
	return RESPST_NONE;
}

/* Attached; pinned ones are also pinned, and revocable ones locked. */
static struct ib_umem_dmabuf *
p2pbuf_nic_attach(struct p2pbuf_nic_mr *nic, struct ib_device *dev, u64 offset,
		  u64 length, int fd, int access)
{
	switch (nic->flavour) {
	case P2PBUF_NIC_PINNED:
		return ib_umem_dmabuf_get_pinned(dev, offset, length, fd,
						 access);
	case P2PBUF_NIC_REVOCABLE:
		return ib_umem_dmabuf_get_pinned_revocable_and_lock(dev, offset,
								    length, fd,
								    access);
	default:
		return ib_umem_dmabuf_get(dev, offset, length, fd, access,
					  &p2pbuf_nic_dynamic_ops);
	}
}

/* On success the umem is the region's, and ends with it. */
static int p2pbuf_nic_init_mr(struct rxe_mr *mr, u64 offset, u64 length,
			      u64 iova, int fd, int access)
{
	struct ib_umem_dmabuf *umem;
	struct p2pbuf_nic_mr *nic;
	int ret;

	nic = kzalloc_obj(*nic);
	if (!nic)
		return -ENOMEM;
	mutex_init(&nic->lock);
	nic->flavour = READ_ONCE(p2pbuf_nic_flavour);

	umem = p2pbuf_nic_attach(nic, mr->ibmr.device, offset, length, fd,
				 access);
	if (IS_ERR(umem)) {
		ret = PTR_ERR(umem);
		goto free_nic;
	}
	nic->umem = umem;
	umem->umem.iova = iova;
	if (nic->flavour != P2PBUF_NIC_REVOCABLE)
		dma_resv_lock(umem->attach->dmabuf->resv, NULL);
	umem->private = nic;
	if (nic->flavour == P2PBUF_NIC_REVOCABLE)
		ib_umem_dmabuf_set_revoke_locked(umem, p2pbuf_nic_revoke, nic);
	/* a first time now, so that whoever cannot map is told so */
	ret = p2pbuf_nic_map(nic);
	dma_resv_unlock(umem->attach->dmabuf->resv);
	if (ret) {
		p2pbuf_nic_release_umem(&umem->umem);
		return ret;
	}

	rxe_mr_init(access, mr);
	mr->umem = &umem->umem;
	mr->ibmr.iova = iova;
	mr->ibmr.length = length;
	mr->ibmr.type = IB_MR_TYPE_USER;
	mr->state = RXE_MR_STATE_VALID;
	return 0;

free_nic:
	mutex_destroy(&nic->lock);
	kfree(nic);
	return ret;
}

/**
 * p2pbuf_nic_reg_mr() - the device operation reg_user_mr_dmabuf
 * @pd: protection domain
 * @offset: in the dma-buf, in bytes
 * @length: in bytes
 * @iova: address of the first byte for work requests; the core has checked
 *        that it is as far into its page as @offset
 * @fd: the dma-buf
 * @access: IB_ACCESS_* flags
 * @dmah: must be NULL
 * @attrs: not used
 *
 * Return: the region or an ERR_PTR, above all what the exporter answered.
 */
struct ib_mr *p2pbuf_nic_reg_mr(struct ib_pd *pd, u64 offset, u64 length,
				u64 iova, int fd, int access,
				struct ib_dmah *dmah,
				struct uverbs_attr_bundle *attrs)
{
	struct rxe_dev *rxe = to_rdev(pd->device);
	struct rxe_mr *mr;
	int ret;

	if (dmah || access & ~P2PBUF_NIC_ACCESS)
		return ERR_PTR(-EOPNOTSUPP);

	mr = kzalloc_obj(*mr);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	ret = rxe_add_to_pool(&rxe->mr_pool, mr);
	if (ret)
		goto free_mr;

	rxe_get(to_rpd(pd));
	mr->ibmr.pd = pd;
	mr->ibmr.device = pd->device;
	ret = p2pbuf_nic_init_mr(mr, offset, length, iova, fd, access);
	if (ret)
		goto remove_mr;

	rxe_finalize(mr);
	return &mr->ibmr;

remove_mr:
	WARN_ON(rxe_cleanup(mr));
free_mr:
	kfree(mr);
	return ERR_PTR(ret);
}

/**
 * p2pbuf_nic_release_umem() - ib_umem_release() that knows of windows
 * @umem: of a region that nobody can reach any more, or NULL
 */
void p2pbuf_nic_release_umem(struct ib_umem *umem)
{
	struct ib_umem_dmabuf *dmabuf;
	struct p2pbuf_nic_mr *nic;

	if (!umem || !umem->is_dmabuf) {
		ib_umem_release(umem);
		return;
	}

	dmabuf = to_ib_umem_dmabuf(umem);
	nic = dmabuf->private;
	dma_resv_lock(dmabuf->attach->dmabuf->resv, NULL);
	p2pbuf_nic_window_close(nic);
	/* no callback comes back to it */
	if (nic->flavour == P2PBUF_NIC_DYNAMIC)
		dmabuf->private = NULL;
	ib_umem_dmabuf_unmap_pages(dmabuf);
	dma_resv_unlock(dmabuf->attach->dmabuf->resv);

	ib_umem_release(umem);
	mutex_destroy(&nic->lock);
	kfree(nic);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Test only: does, when it is loaded, what a checker of the kernel must find, in
 * the way in which it would go wrong in the modules of this project. A kernel that
 * is silent here would be silent there (ci/guest/control.sh).
 *
 * For what is wrong with memory the kernel has such a module itself, lkdtm.
 */
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>

static char *wrong;
module_param(wrong, charp, 0444);
MODULE_PARM_DESC(wrong, "what to do: fence, order, dma");

/* Invariant 4 of an importer: on the way to a fence nothing allocates. */
static int control_fence(void)
{
	bool cookie = dma_fence_begin_signalling();
	void *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	dma_fence_end_signalling(cookie);
	return 0;
}

/* Two locks, in both orders; that nobody waits here makes it no better. */
static int control_order(void)
{
	static DEFINE_MUTEX(first);
	static DEFINE_MUTEX(second);

	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	return 0;
}

/* An address is given back that was never mapped. */
static int control_dma(void)
{
	struct pci_dev *pdev = pci_get_device(PCI_ANY_ID, PCI_ANY_ID, NULL);

	if (!pdev)
		return -ENODEV;
	dma_unmap_page(&pdev->dev, PAGE_SIZE, PAGE_SIZE, DMA_TO_DEVICE);
	pci_dev_put(pdev);
	return 0;
}

static int __init control_init(void)
{
	if (!wrong)
		return -EINVAL;
	if (!strcmp(wrong, "fence"))
		return control_fence();
	if (!strcmp(wrong, "order"))
		return control_order();
	return strcmp(wrong, "dma") ? -EINVAL : control_dma();
}

static void __exit control_exit(void)
{
}

module_init(control_init);
module_exit(control_exit);

MODULE_DESCRIPTION("Test only: wrongs that the kernel's checkers must find");
MODULE_LICENSE("GPL");

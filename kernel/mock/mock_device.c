// SPDX-License-Identifier: GPL-2.0
/*
 * Devices: PCI functions given to this driver by driver_override, whose memory
 * BAR holds buffers or which stand for an importer; and one platform device,
 * for importers that are no PCI function.
 *
 * A function can be taken away at any time. Buffers in its BAR are revoked
 * and their importers waited for; the CPU's accesses are read sections that
 * remove() waits for, so that the I/O of importers, which runs in interrupts,
 * may go on trying.
 */
#include <linux/module.h>
#include <linux/platform_device.h>

#include "mock.h"

/* Smaller ones hold registers. */
#define MOCK_BAR_MIN	SZ_1M

static LIST_HEAD(mock_devices);
static DEFINE_MUTEX(mock_devices_lock);
static struct platform_device *mock_platform;

static void mock_device_free(struct kref *kref)
{
	struct mock_device *mdev = container_of(kref, struct mock_device, kref);

	if (mdev->pool)
		gen_pool_destroy(mdev->pool);
	cleanup_srcu_struct(&mdev->alive);
	kfree(mdev);
}

void mock_device_put(struct mock_device *mdev)
{
	if (mdev)
		kref_put(&mdev->kref, mock_device_free);
}

static u32 mock_device_id(struct pci_dev *pdev)
{
	return (u32)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

/**
 * mock_device_find - a function with a BAR for buffers
 * @id: which, as in &struct p2pbuf_mock_create
 *
 * Return: with a reference, or NULL.
 */
struct mock_device *mock_device_find(u32 id)
{
	struct mock_device *mdev, *found = NULL;

	mutex_lock(&mock_devices_lock);
	list_for_each_entry(mdev, &mock_devices, node) {
		if (mdev->bar < 0 || (id && mock_device_id(mdev->pdev) != id))
			continue;
		kref_get(&mdev->kref);
		found = mdev;
		break;
	}
	mutex_unlock(&mock_devices_lock);
	return found;
}

/**
 * mock_device_get_importer - the device an importer stands for
 * @id: PCI function, or 0 for the platform device
 *
 * Return: with a reference, or NULL.
 */
struct device *mock_device_get_importer(u32 id)
{
	struct pci_dev *pdev;

	if (!id)
		return get_device(&mock_platform->dev);
	pdev = pci_get_domain_bus_and_slot(id >> 16, PCI_BUS_NUM(id),
					   id & 0xff);
	return pdev ? &pdev->dev : NULL;
}

static int mock_bar_pick(struct pci_dev *pdev)
{
	int bar, best = -1;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (!(pci_resource_flags(pdev, bar) & IORESOURCE_MEM) ||
		    pci_resource_len(pdev, bar) <= MOCK_BAR_MIN)
			continue;
		if (best < 0 || pci_resource_len(pdev, bar) >
				pci_resource_len(pdev, best))
			best = bar;
	}
	return best;
}

static int mock_bar_setup(struct mock_device *mdev)
{
	struct pci_dev *pdev = mdev->pdev;
	int ret;

	ret = pcim_request_region(pdev, mdev->bar, KBUILD_MODNAME);
	if (ret)
		return ret;
	mdev->base = pci_resource_start(pdev, mdev->bar);
	mdev->size = pci_resource_len(pdev, mdev->bar);
	mdev->pool = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);
	if (!mdev->pool)
		return -ENOMEM;
	ret = gen_pool_add(mdev->pool, mdev->base, mdev->size, NUMA_NO_NODE);
	if (ret)
		return ret;
	mdev->io = ioremap_wc(mdev->base, mdev->size);
	return mdev->io ? 0 : -ENOMEM;
}

static int mock_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct mock_device *mdev;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	mdev = kzalloc_obj(*mdev);
	if (!mdev)
		return -ENOMEM;
	ret = init_srcu_struct(&mdev->alive);
	if (ret) {
		kfree(mdev);
		return ret;
	}
	kref_init(&mdev->kref);
	mdev->pdev = pdev;
	mdev->bar = mock_bar_pick(pdev);
	if (mdev->bar >= 0) {
		ret = mock_bar_setup(mdev);
		if (ret) {
			mock_device_put(mdev);
			return ret;
		}
	}
	pci_set_master(pdev);
	pci_set_drvdata(pdev, mdev);
	mutex_lock(&mock_devices_lock);
	list_add_tail(&mdev->node, &mock_devices);
	mutex_unlock(&mock_devices_lock);
	return 0;
}

static void mock_remove(struct pci_dev *pdev)
{
	struct mock_device *mdev = pci_get_drvdata(pdev);

	mock_core_device_leaves(&pdev->dev);
	/* No new buffer finds it ... */
	mutex_lock(&mock_devices_lock);
	list_del(&mdev->node);
	mutex_unlock(&mock_devices_lock);
	/* ... those that are there leave it, and no CPU looks at it. */
	if (mdev->bar >= 0) {
		WRITE_ONCE(mdev->leaving, true);
		mock_buffers_leave(mdev);
		WRITE_ONCE(mdev->gone, true);
		synchronize_srcu(&mdev->alive);
		iounmap(mdev->io);
	}
	pci_clear_master(pdev);
	mock_device_put(mdev);
}

/* Bound by driver_override alone. */
static const struct pci_device_id mock_ids[] = { {} };

static struct pci_driver mock_driver = {
	.name = P2PBUF_MOCK_DRIVER,
	.id_table = mock_ids,
	.probe = mock_probe,
	.remove = mock_remove,
};

/**
 * mock_device_set_bits - choose how much a device can address
 * @dev: one of this driver's
 * @bits: 0 for 64
 *
 * Return: 0 or -EINVAL.
 */
int mock_device_set_bits(struct device *dev, u32 bits)
{
	if (dev->driver != &mock_driver.driver && dev != &mock_platform->dev)
		return bits ? -EINVAL : 0;
	if (bits > 64)
		return -EINVAL;
	return dma_set_mask(dev, DMA_BIT_MASK(bits ?: 64)) ? -EINVAL : 0;
}

int mock_devices_init(void)
{
	const struct platform_device_info info = {
		.name = "p2pbuf-mock",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	int ret;

	mock_platform = platform_device_register_full(&info);
	if (IS_ERR(mock_platform))
		return PTR_ERR(mock_platform);
	ret = pci_register_driver(&mock_driver);
	if (ret)
		platform_device_unregister(mock_platform);
	return ret;
}

void mock_devices_exit(void)
{
	pci_unregister_driver(&mock_driver);
	platform_device_unregister(mock_platform);
}

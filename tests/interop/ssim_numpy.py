"""The numbers of tests/train/test_evaluate.c: structural similarity straight from its definition, window by window.

Wang, Bovik, Sheikh, Simoncelli 2004: Gaussian window 11 x 11 of sigma 1.5 whose weights sum to 1, positions where it lies
inside the image, K1 = 0.01, K2 = 0.03, mean over positions and channels. Where scikit-image is installed its
structural_similarity (gaussian_weights, sigma 1.5, no sample covariance) must agree."""
import numpy as np

try:
    from skimage.metrics import structural_similarity
except ImportError:
    structural_similarity = None

SHAPES = [(11, 11, 1), (12, 17, 1), (28, 28, 1), (32, 32, 3), (60, 100, 2)]


def images(height, width, channels):
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    a = (13 * y + 7 * x + 50 * c + (y * x) % 29) % 256
    b = a * 3 // 4 + (31 * y + 17 * x + 11 * c) % 64
    return np.float64(np.float32(a) / np.float32(255)), np.float64(np.float32(b) / np.float32(255))


def ssim(a, b, span):
    w = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    w = np.outer(w, w) / w.sum() ** 2
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    values = []
    for c in range(a.shape[2]):
        for y in range(a.shape[0] - 10):
            for x in range(a.shape[1] - 10):
                p, q = a[y : y + 11, x : x + 11, c], b[y : y + 11, x : x + 11, c]
                mp, mq = (w * p).sum(), (w * q).sum()
                vp, vq, vpq = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum(), (w * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + c1) * (2 * vpq + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


for shape in SHAPES:
    a, b = images(*shape)
    for span in (1.0, 2.0):
        value = ssim(a, b, span)
        print("{%d, %d, %d, %g, %.15g}," % (*shape, span, value))
        if structural_similarity:
            other = structural_similarity(
                a, b, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2
            )
            assert abs(other - value) < 1e-12, (shape, span, value, other)

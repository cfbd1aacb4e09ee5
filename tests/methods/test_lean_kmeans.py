"""scikit-learn's KMeans without the rest of scikit-learn, until that is needed."""

import subprocess
import sys

_FIT = """
import numpy as np
points = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
fit = lambda kind: kind(5, n_init="auto", random_state=np.random.RandomState(3)).fit_predict(points).tolist()
"""
_LEAN = """
import sys
from adbench.methods.adaclip.lean_kmeans import import_kmeans
kmeans = import_kmeans()
print({"pandas", "sklearn.linear_model", "sklearn.metrics._ranking", "scipy.stats._stats_py"} & set(sys.modules))
print(fit(kmeans))
import scipy.stats, sklearn.cluster
from sklearn.metrics import pairwise, roc_auc_score
print(sklearn.cluster.KMeans is kmeans is import_kmeans(), sklearn.cluster.DBSCAN(eps=9).fit(points).labels_.max())
print(roc_auc_score([0, 1], [0.2, 0.7]), scipy.stats.norm.cdf(0.0), sklearn.metrics.pairwise is pairwise)
"""
_PLAIN = """
from sklearn.cluster import KMeans
print(fit(KMeans))
"""


def _lines(program):
    done = subprocess.run([sys.executable, "-c", _FIT + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_clusters_are_those_of_the_whole_library_which_comes_when_it_is_asked_for():
    nothing, clusters, *rest = _lines(_LEAN)
    assert nothing == "set()"
    assert [clusters] == _lines(_PLAIN)
    assert rest == ["True 0", "1.0 0.5 True"]

"""torchmetrics on random inputs: every metric, task, average and option that both have, in two updates of uneven size."""
import itertools
import json
import warnings

import torch
from reference import need, path

tm = need("torchmetrics")
from torchmetrics.text import Perplexity  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.manual_seed(7)
CLASSES, LABELS = 5, 3
cases = []


def flat(value):
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in flat(part)]
    return [x if x == x else None for x in value.detach().to(torch.float64).flatten().tolist()]


def tensor(value):
    kind = "int" if not value.is_floating_point() else str(value.dtype)[6:]
    return dict(type=kind, shape=list(value.shape), values=value.to(torch.float64).flatten().tolist())


def case(name, metric, options, batches):
    for batch in batches:
        metric.update(*batch)
    cases.append(dict(metric=name, options={k: v for k, v in options.items() if v is not None},
                      batches=[[tensor(x) for x in batch] for batch in batches], value=flat(metric.compute())))


def targets(high, *shape, ignored=None):
    value = torch.randint(high, shape)
    if ignored is not None:
        value[torch.rand(shape) < 0.2] = ignored
    return value


def inputs(task, more=(), ignored=None, scores="logits", dtype=torch.float32):
    """Two batches."""
    out = []
    for count in (9, 4):
        shape = {"binary": (count, *more), "multiclass": (count, CLASSES, *more), "multilabel": (count, LABELS, *more)}[task]
        preds = torch.randn(shape, dtype=dtype) * 2
        if scores == "probabilities":
            preds = preds.softmax(1) if task == "multiclass" else preds.sigmoid()
        if scores == "ties":
            preds = (preds.softmax(1) if task == "multiclass" else preds.sigmoid()).mul(4).round() / 4
        if scores == "decisions":
            preds = torch.randint(CLASSES, (count, *more)) if task == "multiclass" else torch.randint(2, shape)
        target = targets(CLASSES, count, *more, ignored=ignored) if task == "multiclass" else targets(2, *shape, ignored=ignored)
        out.append((preds, target))
    return out


def sizes(task):
    return {"multiclass": dict(num_classes=CLASSES), "multilabel": dict(num_labels=LABELS)}.get(task, {})


def averages(task, names=("micro", "macro", "weighted", "none")):
    return names if task != "binary" else (None,)


def given(options):
    return {k: v for k, v in options.items() if v is not None}


TASKS = ("binary", "multiclass", "multilabel")
for name in ("Accuracy", "Precision", "Recall", "F1Score", "Specificity", "HammingDistance", "StatScores"):
    for task in TASKS:
        for average, more, samplewise, ignored, scores in itertools.product(
                averages(task), ((), (3,)), (False, True), (None, 0, -1), ("logits", "decisions")):
            if samplewise and not more:
                continue
            if name == "StatScores" and samplewise and average == "weighted":
                continue  # of labels torchmetrics divides by the support of all samples
            options = dict(task=task, **sizes(task), average=average, ignore_index=ignored, multidim_average="samplewise" if samplewise else None)
            case(name, getattr(tm, name)(**given(options)), options, inputs(task, more, ignored, scores))
    for average, k, ignored in itertools.product(averages("multiclass"), (2, 3), (None, 1, -1)):
        options = dict(task="multiclass", num_classes=CLASSES, average=average, top_k=k, ignore_index=ignored)
        case(name, getattr(tm, name)(**given(options)), options, inputs("multiclass", (2,), ignored))
for name, average, task in itertools.product(("Precision", "Recall", "F1Score"), ("micro", "macro", "weighted", "none"), TASKS):
    options = dict(task=task, **sizes(task), average=average, zero_division=1, threshold=0.9)
    case(name, getattr(tm, name)(**options), options, inputs(task)[1:])
for average, beta in itertools.product(averages("multiclass"), (0.5, 2.0)):
    options = dict(task="multiclass", num_classes=CLASSES, average=average, beta=beta)
    case("FBetaScore", tm.FBetaScore(**options), options, inputs("multiclass"))
for task, samplewise, ignored in itertools.product(("multiclass", "multilabel"), (False, True), (None, 0, -1)):
    options = dict(task=task, **sizes(task), ignore_index=ignored, multidim_average="samplewise" if samplewise else None)
    case("ExactMatch", tm.ExactMatch(**given(options)), options, inputs(task, (2,), ignored, "decisions"))

for task, ignored, more, scores in itertools.product(TASKS, (None, 0, -1), ((), (3,)), ("logits", "decisions")):
    base = dict(task=task, **sizes(task), ignore_index=ignored)
    for normalize in (None, "true", "pred", "all"):
        options = dict(base, normalize=normalize)
        case("ConfusionMatrix", tm.ConfusionMatrix(**given(options)), options, inputs(task, more, ignored, scores))
    case("MatthewsCorrCoef", tm.MatthewsCorrCoef(**given(base)), base, inputs(task, more, ignored, scores))
    for average in averages(task):
        options = dict(base, average=average)
        case("JaccardIndex", tm.JaccardIndex(**given(options)), options, inputs(task, more, ignored, scores))
    if task != "multilabel":
        for weights in (None, "linear", "quadratic"):
            options = dict(base, weights=weights)
            case("CohenKappa", tm.CohenKappa(**given(options)), options, inputs(task, more, ignored, scores))
for counts in ((0, 5, 0, 3), (4, 0, 2, 0), (0, 0, 3, 4), (3, 2, 0, 0), (0, 3, 0, 0), (3, 0, 0, 4), (0, 2, 3, 0), (0, 0, 0, 0)):  # tn fp fn tp
    pairs = [(t, p) for (t, p), count in zip(((0, 0), (0, 1), (1, 0), (1, 1)), counts) for _ in range(count)]
    if pairs:
        case("MatthewsCorrCoef", tm.MatthewsCorrCoef(task="binary"), dict(task="binary"),
             [(torch.tensor([p for _, p in pairs]), torch.tensor([t for t, _ in pairs]))])
for task, ignored, scores, norm, bins in itertools.product(TASKS[:2], (None, 0, -1), ("logits", "probabilities"), ("l1", "l2", "max"), (15, 4)):
    options = dict(task=task, **sizes(task), ignore_index=ignored, norm=norm, n_bins=bins)
    case("CalibrationError", tm.CalibrationError(**given(options)), options, inputs(task, (2,), ignored, scores))
for task, ignored, squared, mode in itertools.product(TASKS[:2], (None, -1), (False, True), ("crammer-singer", "one-vs-all")):
    options = dict(task=task, **sizes(task), ignore_index=ignored, squared=squared, multiclass_mode=mode)
    case("HingeLoss", tm.HingeLoss(**given(options)), options, inputs(task, (), ignored))

for task, ignored, scores, thresholds, more in itertools.product(TASKS, (None, 0, -1), ("logits", "ties"), (None, 7, [0.1, 0.25, 0.5, 0.8]), ((), (2,))):
    if task == "binary" and ignored == 0:
        continue  # leaves one class
    base = dict(task=task, **sizes(task), ignore_index=ignored, thresholds=thresholds)
    for name in ("AUROC", "AveragePrecision"):
        for average in averages(task, ("micro", "macro", "weighted", "none")):
            if task == "multiclass" and average == "micro":
                continue
            options = dict(base, average=average)
            case(name, getattr(tm, name)(**given(options)), options, inputs(task, more, ignored, scores))
    for name in ("ROC", "PrecisionRecallCurve"):
        case(name, getattr(tm, name)(**given(base)), base, inputs(task, more, ignored, scores))
for limit, thresholds in itertools.product((0.1, 0.3, 0.9, 1.0), (None, 20)):
    options = dict(task="binary", max_fpr=limit, thresholds=thresholds)
    case("AUROC", tm.AUROC(**given(options)), options, inputs("binary", (10,)))
for name, value in itertools.product(("AUROC", "AveragePrecision", "ROC", "PrecisionRecallCurve"), (0, 1)):
    case(name, getattr(tm, name)(task="binary"), dict(task="binary"), [(torch.rand(6), torch.full((6,), value))])
    case(name, getattr(tm, name)(task="multiclass", num_classes=3), dict(task="multiclass", num_classes=3),
         [(torch.rand(6, 3).softmax(1), torch.tensor([0, 1, 0, 1, 1, 0]) if value else torch.zeros(6, dtype=torch.long))])


def numbers(dtype, *more, positive=False):
    out = []
    for count in (9, 1, 4):
        x = torch.randn(count, *more, dtype=dtype)
        y = 0.5 * x + torch.randn(count, *more, dtype=dtype)
        out.append((x.abs() + 0.1, y.abs() + 0.1) if positive else (x, y))
    return out


for dtype in (torch.float32, torch.float64):
    for name in ("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "SymmetricMeanAbsolutePercentageError", "LogCoshError", "R2Score",
                 "ExplainedVariance", "PearsonCorrCoef", "ConcordanceCorrCoef", "SpearmanCorrCoef", "KendallRankCorrCoef", "RelativeSquaredError"):
        metric = getattr(tm, name)()
        case(name, metric.set_dtype(dtype), {}, numbers(dtype))
    for name in ("MeanSquaredError", "MeanAbsoluteError", "LogCoshError", "PearsonCorrCoef", "ConcordanceCorrCoef", "SpearmanCorrCoef", "KendallRankCorrCoef"):
        case(name, getattr(tm, name)(num_outputs=3).set_dtype(dtype), dict(num_outputs=3), numbers(dtype, 3))
    for name, multioutput in itertools.product(("R2Score", "ExplainedVariance"), ("raw_values", "uniform_average", "variance_weighted")):
        case(name, getattr(tm, name)(multioutput=multioutput).set_dtype(dtype), dict(multioutput=multioutput, num_outputs=3), numbers(dtype, 3))
    for adjusted in (1, 5, 13, 20):
        case("R2Score", tm.R2Score(adjusted=adjusted).set_dtype(dtype), dict(adjusted=adjusted), numbers(dtype))
    case("MeanSquaredError", tm.MeanSquaredError(squared=False).set_dtype(dtype), dict(squared=False), numbers(dtype, 2, 2))
    case("RelativeSquaredError", tm.RelativeSquaredError(num_outputs=2, squared=False).set_dtype(dtype), dict(squared=False, num_outputs=2), numbers(dtype, 2))
    case("MeanSquaredLogError", tm.MeanSquaredLogError().set_dtype(dtype), {}, numbers(dtype, positive=True))
    for p in (1.0, 2.5, 4.0):
        case("MinkowskiDistance", tm.MinkowskiDistance(p=p).set_dtype(dtype), dict(p=p), numbers(dtype))
    for reduction in ("sum", "mean", "none"):
        case("CosineSimilarity", tm.CosineSimilarity(reduction=reduction), dict(reduction=reduction), numbers(dtype, 4))
        chances = [(x.softmax(1), y.softmax(1)) for x, y in numbers(dtype, 4)]
        case("KLDivergence", tm.KLDivergence(reduction=reduction).set_dtype(dtype), dict(reduction=reduction), chances)
        case("KLDivergence", tm.KLDivergence(reduction=reduction, log_prob=True).set_dtype(dtype), dict(reduction=reduction, log_prob=True),
             [(p.log(), q.log()) for p, q in chances])
# Ties, and a series that does not vary.
rough = [(torch.randint(4, (12,)).double(), torch.randint(4, (12,)).double()) for _ in range(2)]
for name in ("SpearmanCorrCoef", "KendallRankCorrCoef", "PearsonCorrCoef"):
    case(name, getattr(tm, name)().set_dtype(torch.float64), {}, rough)
for name in ("PearsonCorrCoef", "SpearmanCorrCoef", "R2Score", "ExplainedVariance"):
    case(name, getattr(tm, name)().set_dtype(torch.float64), {}, [(torch.randn(6).double(), torch.full((6,), 0.1).double())])
for ignored in (None, -100):
    batches = [(torch.randn(2, 5, 7) * 3, targets(7, 2, 5, ignored=ignored)), (torch.randn(1, 5, 7), targets(7, 1, 5, ignored=ignored))]
    case("Perplexity", Perplexity(ignore_index=ignored), dict(ignore_index=ignored), batches)
for name in ("MeanMetric", "SumMetric", "MinMetric", "MaxMetric", "RunningMean"):
    case(name, getattr(tm, name)(), {}, [(torch.randn(4),) for _ in range(7)])
case("MeanMetric", tm.MeanMetric(), {}, [(torch.randn(4), torch.rand(4)) for _ in range(3)])
json.dump(cases, open(path("metrics.json"), "w"))
print(len(cases), "cases")

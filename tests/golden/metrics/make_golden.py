"""Writes torchmetrics.txt: the values of torchmetrics 1.9.0 on inputs that a test can rebuild, and its edge cases.

python make_golden.py > torchmetrics.txt      (torch 2.11.0, torchmetrics 1.9.0)
"""
import sys
import warnings

import torch
import torchmetrics as tm

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
f = sys.stdout


def det(*shape, dtype=torch.float64, salt=0):
    """Values without a generator: element i is ((i + salt) * 7919 mod 1000) / 1000 - 0.5."""
    count = 1
    for size in shape:
        count *= size
    return torch.tensor([((i + salt) * 7919 % 1000) / 1000 - 0.5 for i in range(count)], dtype=dtype).reshape(*shape)


N,C=12,4
logits=det(N,C,salt=4,dtype=torch.float64)*6; target=torch.tensor([(i*7+i//3)%C for i in range(N)]); probs=torch.softmax(logits,1)
bp=torch.sigmoid(det(N,salt=8)*5); bt=torch.tensor([1,0,1,1,0,0,1,0,1,1,0,1])
f.write("logits det(12,4,salt=4)*6 (det: ((i+salt)*7919 mod 1000)/1000-0.5); target (i*7+i//3)%4 = "+str(target.tolist())+"\nbinary: sigmoid(det(12,salt=8)*5), target "+str(bt.tolist())+"\n")
def g(v):
    if isinstance(v,(tuple,list)): return "("+", ".join(g(x) for x in v)+")"
    if isinstance(v,dict): return str({k:g(x) for k,x in v.items()})
    return str([float(f"{x:.12g}") for x in v.flatten().tolist()]) if v.numel()>1 else f"{v.item():.12g}"
def run(title,mk,*batches):
    try:
        m=mk().to(torch.float64) if hasattr(mk(),'to') else mk(); 
        try: m.set_dtype(torch.float64)
        except Exception: pass
        for b in batches: m.update(*b)
        f.write(f"{title} = {g(m.compute())}\n")
    except Exception as e: f.write(f"{title}: {type(e).__name__}: {str(e)[:140]}\n")
two=[(logits[:7],target[:7]),(logits[7:],target[7:])]
MC=dict(task="multiclass",num_classes=C)
for name in ("Accuracy","Precision","Recall","F1Score","Specificity"):
    for avg in ("micro","macro","weighted","none"): run(f"{name} {avg}",lambda:getattr(tm,name)(**MC,average=avg),*two)
for k in (1,2,3): run(f"Accuracy micro top_k={k}",lambda:tm.Accuracy(**MC,average="micro",top_k=k),*two)
run("Accuracy macro top_k=2",lambda:tm.Accuracy(**MC,average="macro",top_k=2),*two); run("Accuracy ignore_index=0 micro",lambda:tm.Accuracy(**MC,average="micro",ignore_index=0),*two); run("Accuracy ignore_index=0 macro",lambda:tm.Accuracy(**MC,average="macro",ignore_index=0),*two); run("Accuracy default average of task multiclass",lambda:tm.Accuracy(**MC),*two)
run("FBeta 2 macro",lambda:tm.FBetaScore(**MC,beta=2.,average="macro"),*two); run("ConfusionMatrix",lambda:tm.ConfusionMatrix(**MC),*two)
for n in ("true","pred","all"): run(f"ConfusionMatrix normalize={n}",lambda:tm.ConfusionMatrix(**MC,normalize=n),*two)
run("AUROC macro exact",lambda:tm.AUROC(**MC),*two); run("AUROC weighted",lambda:tm.AUROC(**MC,average="weighted"),*two); run("AUROC none",lambda:tm.AUROC(**MC,average="none"),*two); run("AUROC thresholds=11",lambda:tm.AUROC(**MC,thresholds=11),*two); run("AveragePrecision macro",lambda:tm.AveragePrecision(**MC),*two); run("AveragePrecision none",lambda:tm.AveragePrecision(**MC,average="none"),*two)
run("CohenKappa",lambda:tm.CohenKappa(**MC),*two); run("MatthewsCorrCoef",lambda:tm.MatthewsCorrCoef(**MC),*two); run("JaccardIndex macro",lambda:tm.JaccardIndex(**MC),*two); run("CalibrationError l1 15",lambda:tm.CalibrationError(**MC),*two); run("HingeLoss",lambda:tm.HingeLoss(**MC),*two); run("StatScores micro",lambda:tm.StatScores(**MC,average="micro"),*two)
B=dict(task="binary"); bb=[(bp[:5],bt[:5]),(bp[5:],bt[5:])]
for name in ("Accuracy","Precision","Recall","F1Score","Specificity","AUROC","AveragePrecision","ConfusionMatrix","StatScores","MatthewsCorrCoef","CohenKappa","JaccardIndex","CalibrationError","HingeLoss"): run(f"binary {name}",lambda:getattr(tm,name)(**B),*bb)
run("binary Accuracy threshold .3",lambda:tm.Accuracy(**B,threshold=.3),*bb); run("binary AUROC thresholds=5",lambda:tm.AUROC(**B,thresholds=5),*bb); run("binary AUROC max_fpr .5",lambda:tm.AUROC(**B,max_fpr=.5),*bb); run("binary ROC",lambda:tm.ROC(**B),*bb); run("binary PrecisionRecallCurve",lambda:tm.PrecisionRecallCurve(**B),*bb)
ml=torch.sigmoid(det(6,3,salt=6)*4); mt=torch.tensor([[1,0,1],[0,1,1],[1,1,0],[0,0,1],[1,0,0],[0,1,0]])
for avg in ("micro","macro","weighted","none"):
    for name in ("Accuracy","F1Score","Precision","Recall"): run(f"multilabel {name} {avg}",lambda:getattr(tm,name)(task="multilabel",num_labels=3,average=avg),(ml,mt))
run("multilabel AUROC macro",lambda:tm.AUROC(task="multilabel",num_labels=3),(ml,mt)); run("multilabel ExactMatch",lambda:tm.ExactMatch(task="multilabel",num_labels=3),(ml,mt)); run("HammingDistance multilabel",lambda:tm.HammingDistance(task="multilabel",num_labels=3),(ml,mt))
x=det(10,salt=3)*3; y=det(10,salt=17)*3; X=det(10,2,salt=3); Y=det(10,2,salt=33)
for name,k in (("MeanSquaredError",{}),("MeanSquaredError",{"squared":False}),("MeanAbsoluteError",{}),("MeanAbsolutePercentageError",{}),("SymmetricMeanAbsolutePercentageError",{}),("R2Score",{}),("ExplainedVariance",{}),("PearsonCorrCoef",{}),("SpearmanCorrCoef",{}),("LogCoshError",{}),("MinkowskiDistance",{"p":3}),("ConcordanceCorrCoef",{}),("KendallRankCorrCoef",{}),("RelativeSquaredError",{})): run(f"{name} {k or ''}",lambda:getattr(tm,name)(**k),(x[:4],y[:4]),(x[4:],y[4:]))
run("MeanSquaredLogError",lambda:tm.MeanSquaredLogError(),(x.abs(),y.abs())); run("MeanSquaredError num_outputs=2",lambda:tm.MeanSquaredError(num_outputs=2),(X[:4],Y[:4]),(X[4:],Y[4:])); run("R2Score raw_values 2",lambda:tm.R2Score(multioutput="raw_values"),(X[:4],Y[:4]),(X[4:],Y[4:])); run("R2Score variance_weighted",lambda:tm.R2Score(multioutput="variance_weighted"),(X[:4],Y[:4]),(X[4:],Y[4:])); run("R2Score adjusted=2",lambda:tm.R2Score(adjusted=2),(x,y)); run("CosineSimilarity mean",lambda:tm.CosineSimilarity(reduction="mean"),(X,Y)); run("KLDivergence",lambda:tm.KLDivergence(),(torch.softmax(X,1),torch.softmax(Y,1)))
from torchmetrics.text import Perplexity
lg=det(2,5,6,salt=2)*4; tt=torch.tensor([[0,1,2,3,4],[5,0,-100,2,1]]); run("Perplexity ignore_index=-100",lambda:Perplexity(ignore_index=-100),(lg,tt))
for name,vals in (("MeanMetric",[1.,2.,float("nan"),4.]),("SumMetric",[1.,2.,4.]),("MaxMetric",[1.,5.,2.]),("MinMetric",[3.,1.,2.]),("CatMetric",[3.,1.])): run(name+" "+str(vals),lambda:getattr(tm,name)(),*[(torch.tensor(v,dtype=torch.float64),) for v in vals])
run("MeanMetric weighted (1,w1),(4,w3)",lambda:tm.MeanMetric(),(torch.tensor(1.,dtype=torch.float64),1.),(torch.tensor(4.,dtype=torch.float64),3.)); run("RunningMean window 3 of 1..5",lambda:tm.RunningMean(3),*[(torch.tensor(float(v)),) for v in range(1,6)])
f.write("-- edge cases\n")
z=torch.zeros(0,dtype=torch.long); one=(torch.tensor([0,0,1]),torch.tensor([0,0,0]))
for name in ("Accuracy","Precision","Recall","F1Score"):
    for avg in ("micro","macro","weighted","none"): run(f"classes 2 and 3 never seen nor predicted: {name} {avg}",lambda:getattr(tm,name)(**MC,average=avg),one)
for zd in (0,1): run(f"Precision none zero_division={zd}",lambda:tm.Precision(**MC,average="none",zero_division=zd),one)
run("compute before update: Accuracy",lambda:tm.Accuracy(**MC)); run("compute before update: MeanMetric",lambda:tm.MeanMetric()); run("compute before update: MSE",lambda:tm.MeanSquaredError()); run("binary AUROC one class only",lambda:tm.AUROC(**B),(torch.tensor([.2,.8]),torch.tensor([1,1]))); run("R2 of one sample",lambda:tm.R2Score(),(torch.tensor([1.]),torch.tensor([1.]))); run("R2 constant target",lambda:tm.R2Score(),(torch.tensor([1.,2.]),torch.tensor([1.,1.]))); run("target out of range",lambda:tm.Accuracy(**MC),(torch.tensor([0,1]),torch.tensor([0,7]))); run("MAPE target 0",lambda:tm.MeanAbsolutePercentageError(),(torch.tensor([1.]),torch.tensor([0.]))); run("ties in AUROC",lambda:tm.AUROC(**B),(torch.tensor([.5,.5,.5,.2]),torch.tensor([1,0,1,0]))); run("binary Accuracy at the threshold .5",lambda:tm.Accuracy(**B),(torch.tensor([.5,.5]),torch.tensor([1,0]))); run("binary given logits (outside [0,1] -> sigmoid)",lambda:tm.Accuracy(**B),(torch.tensor([-1.,2.,.3]),torch.tensor([0,1,0]))); run("top_k tie: argmax of equal scores",lambda:tm.Accuracy(**MC,average="micro"),(torch.ones(4,4),torch.tensor([0,1,2,3])))
mc=tm.MetricCollection({"acc":tm.Accuracy(**MC),"f1":tm.F1Score(**MC,average="macro")},prefix="val_"); mc.update(logits,target); f.write("MetricCollection prefix val_: "+g(mc.compute())+"\n")
for n,m in (("Accuracy micro",tm.Accuracy(**MC,average="micro")),("Accuracy macro",tm.Accuracy(**MC,average="macro")),("AUROC exact",tm.AUROC(**MC)),("AUROC thresholds",tm.AUROC(**MC,thresholds=11)),("ConfusionMatrix",tm.ConfusionMatrix(**MC)),("MSE",tm.MeanSquaredError()),("R2",tm.R2Score()),("Pearson",tm.PearsonCorrCoef()),("Spearman",tm.SpearmanCorrCoef()),("MeanMetric",tm.MeanMetric()),("Perplexity",Perplexity()),("CalibrationError",tm.CalibrationError(**MC)),("ExplainedVariance",tm.ExplainedVariance())):
    f.write(f"state of {n}: "+str({k:(('list' if isinstance(v,list) else tuple(v.shape)),getattr(m._reductions[k],'__name__',m._reductions[k])) for k,v in m._defaults.items()})+f" full_state_update={m.full_state_update}\n")

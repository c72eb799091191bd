# what EarlyStopping decides for series of values
from common import *
from lightning.pytorch.callbacks import *
f=out("early_stopping.txt")
def es(title,vals,**k):
    e=EarlyStopping("v",**k); r=[]
    class T: pass
    for v in vals:
        s,why=e._evaluate_stopping_criteria(torch.tensor(v)); r.append((v,s,e.wait_count,round(float(e.best_score),6),e.stopping_reason.name))
        if s: break
    f.write(f"{title} {k}: {r}\n")
es("min",[3.,2.,2.,2.,2.,1.]); es("min_delta .1",[3.,2.95,2.9,2.89,2.8],min_delta=.1,patience=2); es("exactly min_delta",[1.0,0.5,0.0],min_delta=.5,patience=1); es("max",[1.,2.,1.5,1.,0.],mode="max",patience=3); es("nan",[1.,float("nan")]); es("nan allowed",[1.,float("nan"),float("nan"),.5],check_finite=False,patience=2); es("inf",[float("inf")]); es("threshold",[1.,.5,.4],stopping_threshold=.5); es("divergence",[1.,2.,2.1],divergence_threshold=2.); es("divergence max",[1.,.2,.1],mode="max",divergence_threshold=.15); es("patience 0",[1.,1.],patience=0); es("patience 1",[1.,1.],patience=1)

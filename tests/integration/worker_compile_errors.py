"""What does not compile says why in one sentence, first and without another error after it; what is right compiles without a warning."""
import os, re, unittest

from compiler import check_syntax
from harness import BIN, main

BUILD = os.path.dirname(BIN)

NO_MODULE = "the Trainer runs a rtrain::LightningModule: derive the model publicly from it, not from torch::nn::Module"
TAKES = "a training function takes (const rtrain::Config&) or nothing; config.json() gives the JSON itself"
RETURNS = "a training function returns nothing, or what nlohmann::json can hold"
TORCH_OPTIMIZER = "configure_optimizers() returns one of rtrain::optim (SGD, Adam, AdamW) or a class derived from rtrain::Optimizer"
HIDES = "%s() hides %s's function instead of overriding it: give it the same parameters and result, and add override"

# (the sentence, what is wrong)
WRONG = [
    (TAKES, "void takes_json(const nlohmann::json&) {} RTRAIN_TRAIN_FUNCTION(takes_json);"),
    (TAKES, "auto takes_two = [](const rtrain::Config&, int) {}; RTRAIN_TRAIN_FUNCTION(takes_two);"),
    (TAKES, "void run() { (void)rtrain::TorchTrainer([](int) {}).fit(); }"),
    (RETURNS, "struct Answer { double loss; }; Answer answers(const rtrain::Config&) { return {}; } RTRAIN_TRAIN_FUNCTION(answers);"),
    (NO_MODULE, "struct Net : torch::nn::Module {}; void run(rtrain::Trainer& t) { Net net; t.fit(net); }"),
    (NO_MODULE, "struct Net : torch::nn::Module {}; void run(rtrain::Trainer& t) { t.validate(std::make_shared<Net>()); }"),
    (NO_MODULE, "struct NetImpl : torch::nn::Module {}; TORCH_MODULE(Net); void run(rtrain::Trainer& t) { t.fit(Net()); }"),
    (NO_MODULE, "class Net : rtrain::LightningModule {}; void run(rtrain::Trainer& t, Net& net) { t.test(net); }"),
    ("the Trainer changes the module that it runs: it cannot be const",
     "struct Net : rtrain::LightningModule {}; void run(rtrain::Trainer& t) { const Net net; t.fit(net); }"),
    (HIDES % ("training_step", "LightningModule"),
     "struct Net : rtrain::LightningModule { rtrain::StepOutput training_step(rtrain::Batch&, std::int64_t) { return {}; } };"
     " void run(rtrain::Trainer& t) { t.fit(Net()); }"),
    (HIDES % ("validation_step", "LightningModule"),
     "struct Net : rtrain::LightningModule { torch::Tensor validation_step(const rtrain::Batch&) { return {}; } };"
     " void run(rtrain::Trainer& t) { Net net; t.validate(net); }"),
    (HIDES % ("on_train_epoch_end", "LightningModule"),
     "struct Net : rtrain::LightningModule { void on_train_epoch_end() const {} }; void run(rtrain::Trainer& t) { t.fit(std::make_shared<Net>()); }"),
    (HIDES % ("on_train_epoch_end", "Callback"),
     "struct Mine : rtrain::Callback { void on_train_epoch_end(rtrain::Trainer&) {} }; void run() { rtrain::Trainer t({.callbacks = {Mine()}}); }"),
    (TORCH_OPTIMIZER, "rtrain::Optimizers make(std::vector<torch::Tensor> p) { return std::make_shared<torch::optim::SGD>(p, 0.1); }"),
    (TORCH_OPTIMIZER, "rtrain::Optimizers make(std::vector<torch::Tensor> p) { return torch::optim::Adam(p, 0.1); }"),
    ("a DataLoader takes its options by name: DataLoader(dataset, {.batch_size = 64})",
     "void run(std::shared_ptr<rtrain::Dataset> data) { rtrain::DataLoader loader(data, 64); }"),
]

RIGHT = """
struct Net : rtrain::LightningModule {
  torch::nn::Linear layer = register_module("layer", torch::nn::Linear(2, 1));
  rtrain::StepOutput training_step(const rtrain::Batch& batch, std::int64_t) noexcept override { return layer(batch.input).sum(); }
  rtrain::Optimizers configure_optimizers() override { return rtrain::optim::SGD(parameters(), {.lr = 0.1}); }
 private:
  torch::Tensor test_step(const rtrain::Batch&, std::int64_t) override { return {}; }
};
struct HeldImpl : Net {};
TORCH_MODULE(Held);
struct Mine : rtrain::Optimizer {
  using Optimizer::Optimizer;
  void step(const rtrain::StepInputs&) override {}
};
rtrain::Optimizers shared(std::vector<torch::Tensor> p) { return std::make_shared<Mine>(p); }
rtrain::Optimizers by_value(std::vector<torch::Tensor> p) { return Mine(p); }
void everything(std::shared_ptr<rtrain::Dataset> data) {
  auto early = std::make_shared<rtrain::EarlyStopping>(rtrain::EarlyStoppingOptions{.monitor = "loss"});
  rtrain::Trainer trainer({.max_epochs = 1, .callbacks = {early, rtrain::ModelCheckpoint({.monitor = "loss"}), rtrain::LambdaCallback({.on_after_backward = {}})}});
  const rtrain::DataLoader loader(data, {.batch_size = 64, .shuffle = true});
  Net net;
  Held held;
  trainer.fit(net, loader);
  trainer.fit(Net(), loader, {}, rtrain::get_checkpoint());
  trainer.fit(std::make_shared<Net>(), loader);
  trainer.fit(held, loader);
  (void)trainer.validate(held, loader);
  (void)trainer.test(held, loader);
  (void)trainer.predict(std::make_shared<Net>(), loader);
  net.log("loss", 1.0, {.on_epoch = true});
  (void)rtrain::TorchTrainer([](const rtrain::Config&) { return 1.0; }, {.num_workers = 2}, {.name = "x"}, {}, {.backend = "gloo"}).fit();
  rtrain::report_progress({.epoch = 1});
  (void)rtrain::DistributedSampler(4, {.rank = 0});
  (void)rtrain::DDPStrategy({.find_unused_parameters = true});
  (void)rtrain::Batch{torch::ones({1})};
}
auto by_lambda = [](const rtrain::Config& config) { return config.value("lr", 0.1); };
RTRAIN_TRAIN_FUNCTION(by_lambda);
"""


def unit(parts):
    return "#include <rtrain/rtrain.h>\n#include <torch/torch.h>\n" + "".join(
        '#line 1 "snippet-%d"\nnamespace snippet_%d { %s }\n' % (number, number, part) for number, part in enumerate(parts))


class Compile(unittest.TestCase):
    def test_wrong_code_is_answered_by_one_sentence_each(self):
        status, text = check_syntax(BUILD, unit(part for _, part in WRONG))
        errors = re.findall(r"error: (.*)", text)
        self.assertNotEqual(status, 0, text)
        wanted = sorted(sentence for sentence, _ in WRONG)
        found = sorted(next((sentence for sentence in wanted if sentence in error), error) for error in errors)
        self.assertEqual(found, wanted, text)

    def test_right_code_compiles_without_a_warning(self):
        status, text = check_syntax(BUILD, unit([RIGHT]), "-Wall", "-Wextra", "-Wmissing-field-initializers", "-Werror")
        self.assertEqual((status, text), (0, ""))


if __name__ == "__main__":
    main()

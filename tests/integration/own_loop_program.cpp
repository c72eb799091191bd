// A training program with a loop of its own, run as a `command` job: joins the ranks, averages gradients,
// reports checkpoints with all that an exact restart needs. own_loop_program STEPS [DIE_AT_STEP],
// own_loop_program without_group, or own_loop_program c10d|own, where a thread throws what nobody catches.
#include <rtrain/rtrain.h>

#include <torch/torch.h>

#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

/// As c10d's watchdog does, while the training thread waits for ever; or as a thread of the program's own.
[[noreturn]] void throw_in_thread(bool of_c10d) {
  std::thread([of_c10d] {
    if (of_c10d) throw c10::DistBackendError({"f", "f.cpp", 1}, "NCCL error: internal error");
    throw std::runtime_error("of the program's own");
  }).detach();
  for (;;) ::pause();
}

struct NetImpl : torch::nn::Module {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(4, 8));
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.3));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(8, 1));
  torch::Tensor forward(const torch::Tensor& x) { return second(dropout(torch::tanh(first(x)))); }
};
TORCH_MODULE(Net);

void save(const Net& net, const torch::optim::Optimizer& optimizer, int step) {
  const auto checkpoint = rtrain::Checkpoint::temporary();
  const auto rank = std::to_string(rtrain::process_group().rank());
  if (rank == "0") {
    torch::save(net, checkpoint.path() / "net.pt");
    torch::save(optimizer, checkpoint.path() / "optimizer.pt");
    std::ofstream(checkpoint.path() / "step") << step;
  }
  rtrain::save_safetensors(checkpoint.path() / ("rng-" + rank), {rtrain::generator_states(), {}});
  rtrain::report({{"step", step}}, checkpoint);
}

int load(Net& net, torch::optim::Optimizer& optimizer) {
  const auto checkpoint = rtrain::get_checkpoint();
  if (!checkpoint) return 0;
  torch::load(net, checkpoint->path() / "net.pt");
  torch::load(optimizer, checkpoint->path() / "optimizer.pt");
  rtrain::set_generator_states(
      rtrain::load_safetensors(checkpoint->path() / ("rng-" + std::to_string(rtrain::process_group().rank())))
          .tensors);
  int step = 0;
  std::ifstream(checkpoint->path() / "step") >> step;
  return step + 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "without_group") {
    rtrain::report({{"alone", 1}}, rtrain::Checkpoint::temporary());
    return 0;
  }
  const int steps = argc > 1 ? std::atoi(argv[1]) : 6;
  const int die_at = argc > 2 && rtrain::get_context().get_attempt() == 1 ? std::atoi(argv[2]) : -1;
  const auto group = rtrain::init_process_group();
  if (const std::string mode = argc > 1 ? argv[1] : ""; mode == "c10d" || mode == "own")
    throw_in_thread(mode == "c10d");
  // each rank its own dropout; the parameters become rank 0's
  torch::manual_seed(static_cast<std::uint64_t>(7 + group->rank()));
  Net net;
  torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  auto shared = rtrain::prepare_model(*net);
  for (int step = load(net, optimizer); step < steps; ++step) {
    optimizer.zero_grad();
    for (int part = 0; part < 2; ++part) {  // two batches a step: their gradients are summed once
      const auto x = torch::rand({16, 4});
      const auto loss = [&] { return (net(x) - x.sum(1, true)).square().mean() / 2; };
      if (part == 0) {
        const auto local = shared.no_sync();
        loss().backward();
      } else {
        loss().backward();
      }
    }
    torch::nn::utils::clip_grad_norm_(net->parameters(), 1.0);
    optimizer.step();
    if (step == die_at && group->rank() == 1) ::kill(::getpid(), SIGKILL);
    save(net, optimizer, step);
  }
  // The ranks must have the same parameters, to the bit.
  const auto flat = torch::nn::utils::parameters_to_vector(net->parameters()).detach();
  const auto all = group->all_gather(flat);
  nlohmann::json weights = nlohmann::json::array();
  for (std::int64_t i = 0; i < flat.numel(); ++i) weights.push_back(flat[i].item<float>());
  bool same = true;
  for (const auto& other : all) same = same && other.equal(flat);
  rtrain::report({{"weights", weights}, {"same", same}, {"world", group->world_size()}});
}

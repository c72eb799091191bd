#include <rtrain/communicator.h>

#include <torch/torch.h>

#include <cstring>
#include <stdexcept>

namespace rtrain {

void Work::wait(std::optional<std::chrono::milliseconds> limit) {
  if (!pending_) return;
  const auto pending = std::move(pending_);
  pending->wait(limit);
}

void Communicator::require_rank(const char* operation, const char* role, int rank) const {
  if (rank >= 0 && rank < world_size()) return;
  throw std::invalid_argument(std::string(operation) + ": " + role + " is " + std::to_string(rank) +
                              ", expected a rank from 0 to " + std::to_string(world_size() - 1));
}

namespace {

/// Runs a collective on a contiguous copy where the tensor is strided; what it wrote goes back.
template <class Run>
void on_contiguous(const torch::Tensor& tensor, Run run) {
  const torch::NoGradGuard no_grad;
  const auto own = tensor.detach();
  const auto dense = own.contiguous();
  run(dense);
  if (dense.data_ptr() != own.data_ptr()) own.copy_(dense);
}

}  // namespace

void Communicator::all_reduce(torch::Tensor tensor, Op op) {
  if (is_alone()) return;
  on_contiguous(tensor, [&](const torch::Tensor& dense) { start_all_reduce(dense, op).wait(); });
}

void Communicator::broadcast(torch::Tensor tensor, int root) {
  require_rank("broadcast", "root", root);
  if (is_alone()) return;
  on_contiguous(tensor, [&](const torch::Tensor& dense) { start_broadcast(dense, root).wait(); });
}

void Communicator::broadcast_all(const std::vector<torch::Tensor>& tensors, int root) {
  for (const auto& tensor : tensors) broadcast(tensor, root);
}

std::vector<torch::Tensor> Communicator::all_gather(const torch::Tensor& tensor) {
  if (is_alone()) return {tensor.detach().clone()};
  const torch::NoGradGuard no_grad;
  const auto input = tensor.detach().contiguous();
  std::vector<std::int64_t> sizes{world_size()};
  sizes.insert(sizes.end(), input.sizes().begin(), input.sizes().end());
  const auto output = torch::empty(sizes, input.options());
  start_all_gather(output, input).wait();
  std::vector<torch::Tensor> parts;
  for (auto& part : output.unbind(0)) parts.push_back(part.clone());  // each its own memory, as torch's
  return parts;
}

std::string Communicator::broadcast_text(const std::string& own, int root, torch::Device device) {
  require_rank("broadcast_text", "root", root);
  if (is_alone()) return own;
  const auto size =
      torch::scalar_tensor(static_cast<std::int64_t>(own.size()), torch::dtype(torch::kInt64)).to(device);
  broadcast(size, root);
  const auto bytes = size.item<std::int64_t>();
  if (bytes == 0) return {};
  auto text = torch::zeros({bytes}, torch::kUInt8);
  if (rank() == root) std::memcpy(text.data_ptr(), own.data(), own.size());
  text = text.to(device);
  broadcast(text, root);
  text = text.to(torch::kCPU);
  return {static_cast<const char*>(text.data_ptr()), static_cast<std::size_t>(bytes)};
}

namespace {

class Alone final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int world_size() const override { return 1; }
  void barrier() override {}
  [[nodiscard]] bool is_capturable() const override { return true; }
  void meet(const std::string&) override {}
  Work start_all_reduce(torch::Tensor, Op, const char*) override { return {}; }
  Work start_broadcast(torch::Tensor, int root, const char* what) override {
    require_rank(what, "root", root);
    return {};
  }
  Work start_all_gather(torch::Tensor output, torch::Tensor input, const char*) override {
    return copy(output, input);
  }
  Work start_reduce_scatter(torch::Tensor output, torch::Tensor input, Op, const char*) override {
    return copy(output, input);
  }
  Work start_send(torch::Tensor, int, int, const char* what) override { refuse(what); }
  Work start_recv(torch::Tensor, int, int, const char* what) override { refuse(what); }
  std::shared_ptr<Communicator> subgroup(const std::vector<int>& ranks, const std::string&) override {
    for (const int rank : ranks) require_rank("subgroup", "a member", rank);
    return ranks.empty() ? nullptr : std::make_shared<Alone>();
  }
  void set_timeout(std::chrono::milliseconds) override {}

 private:
  static Work copy(torch::Tensor& output, const torch::Tensor& input) {
    const torch::NoGradGuard no_grad;
    if (output.data_ptr() != input.data_ptr()) output.view(-1).copy_(input.view(-1));
    return {};
  }
  [[noreturn]] static void refuse(const char* what) {
    throw std::invalid_argument(std::string(what) + ": there is no other rank in a group of 1");
  }
};

}  // namespace

std::shared_ptr<Communicator> Communicator::alone() { return std::make_shared<Alone>(); }

}  // namespace rtrain

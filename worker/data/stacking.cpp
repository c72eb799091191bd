#include "worker/data/stacking.h"

#include <rtrain/data/collate.h>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>
#include <c10/util/Type.h>

#include <algorithm>
#include <sstream>

namespace rtrain::data {
namespace {

std::string kind_of(const torch::Tensor& tensor) {
  if (!tensor.defined()) return "no tensor";
  std::ostringstream text;
  text << "shape " << tensor.sizes() << " of " << tensor.scalar_type();
  if (!tensor.is_cpu()) text << " on " << tensor.device();
  return text.str();
}

std::string within(const std::string& place) { return place.empty() ? "" : " (in " + place + ")"; }

/// The same but for the sizes before dimension `from`.
bool are_alike(const torch::Tensor& a, const torch::Tensor& b, std::size_t from) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  return a.scalar_type() == b.scalar_type() && a.device() == b.device() && a.dim() == b.dim() &&
         std::equal(a.sizes().begin() + static_cast<std::ptrdiff_t>(std::min(from, a.sizes().size())),
                    a.sizes().end(),
                    b.sizes().begin() + static_cast<std::ptrdiff_t>(std::min(from, b.sizes().size())));
}

torch::Tensor merged_tensor(const std::vector<Batch>& batches, torch::Tensor Batch::*member,
                            const torch::Tensor& order, const char* name) {
  const auto& first = batches.front().*member;
  std::vector<torch::Tensor> tensors;
  std::int64_t samples = 0;
  for (const auto& batch : batches) {
    const auto& tensor = batch.*member;
    if (!are_alike(first, tensor, 1) || (tensor.defined() && tensor.dim() == 0))
      throw std::invalid_argument(std::string("ConcatDataset: the ") + name +
                                  " of two data sets differ: " + kind_of(first) + ", and " + kind_of(tensor) +
                                  "; they must be alike but for the first dimension");
    tensors.push_back(tensor);
    if (tensor.defined()) samples += tensor.size(0);
  }
  if (!first.defined()) return {};
  if (samples != order.size(0))
    throw std::invalid_argument(std::string("ConcatDataset: the ") + name + " of the data sets have " +
                                std::to_string(samples) + " rows for " + std::to_string(order.size(0)) +
                                " samples; the first dimension must be the samples");
  return at::index_select(at::cat(tensors), 0, order.to(first.device()));
}

Nested merged_nested(const std::vector<Batch>& batches, const torch::Tensor& order) {
  Nested nested;
  for (const auto& [name, batch] : batches.front().as<Nested>().items) {
    std::vector<Batch> named;
    for (const auto& each : batches) named.push_back(each.as<Nested>()[name]);
    nested.items.emplace_back(name, merged(named, order));
  }
  for (const auto& each : batches)
    if (each.as<Nested>().items.size() != nested.items.size())
      throw std::invalid_argument("ConcatDataset: the batches of two data sets have " +
                                  std::to_string(nested.items.size()) + " and " +
                                  std::to_string(each.as<Nested>().items.size()) + " names");
  return nested;
}

List<std::string> merged_list(const std::vector<Batch>& batches, const torch::Tensor& order) {
  std::vector<std::string> all;
  for (const auto& batch : batches) {
    const auto& items = batch.as<List<std::string>>().items;
    all.insert(all.end(), items.begin(), items.end());
  }
  List<std::string> list;
  for (std::int64_t i = 0; i < order.size(0); ++i)
    list.items.push_back(all.at(static_cast<std::size_t>(order.const_data_ptr<std::int64_t>()[i])));
  return list;
}

}  // namespace

Batch merged(const std::vector<Batch>& batches, const torch::Tensor& order) {
  const auto all = [&](auto holds) { return std::all_of(batches.begin(), batches.end(), holds); };
  Batch batch;
  if (all([](const Batch& each) { return each.holds<Nested>(); }))
    batch = merged_nested(batches, order);
  else if (all([](const Batch& each) { return each.holds<List<std::string>>(); }))
    batch = merged_list(batches, order);
  else if (!all([](const Batch& each) { return !each.has_value(); }))
    throw std::invalid_argument(
        "ConcatDataset: a batch has samples of two data sets that give values of a type of their own, which "
        "cannot be put together: write a MapDataset over both, or a batch_sampler that keeps them apart");
  batch.input = merged_tensor(batches, &Batch::input, order, "input");
  batch.target = merged_tensor(batches, &Batch::target, order, "target");
  return batch;
}

torch::Tensor detail::stacked(const std::vector<torch::Tensor>& samples, const std::string& place) {
  for (std::size_t i = 1; i < samples.size(); ++i)
    if (!are_alike(samples.front(), samples[i], 0))
      throw CollateError("collate: sample " + std::to_string(i) + " of the batch has " + kind_of(samples[i]) +
                             ", sample 0 has " + kind_of(samples.front()) + within(place) +
                             "; override collate(), or pad_collate() them",
                         i, 0);
  return samples.front().defined() ? at::stack(samples) : torch::Tensor();
}

detail::Padded detail::padded(const std::vector<torch::Tensor>& sequences, double padding_value,
                              const std::string& place) {
  const auto& first = sequences.front();
  Padded out;
  out.lengths = at::empty({static_cast<std::int64_t>(sequences.size())}, at::kLong);
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto& sequence = sequences[i];
    if (!sequence.defined() || sequence.dim() == 0 || !are_alike(first, sequence, 1))
      throw CollateError("pad_collate: sample " + std::to_string(i) + " of the batch has " +
                             kind_of(sequence) + ", sample 0 has " + kind_of(first) + within(place) +
                             "; only the first dimension, the length, may differ",
                         i, 0);
    out.lengths.mutable_data_ptr<std::int64_t>()[i] = sequence.size(0);
    longest = std::max(longest, sequence.size(0));
  }
  auto sizes = first.sizes().vec();
  sizes[0] = longest;
  sizes.insert(sizes.begin(), static_cast<std::int64_t>(sequences.size()));
  out.values = at::full(sizes, padding_value, first.options());
  for (std::size_t i = 0; i < sequences.size(); ++i)
    out.values.select(0, static_cast<std::int64_t>(i)).narrow(0, 0, sequences[i].size(0)).copy_(sequences[i]);
  return out;
}

void detail::refuse_members(const std::type_info& type, std::size_t bytes, std::size_t tensors) {
  throw std::logic_error("collate: " + c10::demangle(type.name()) + " (" + std::to_string(bytes) +
                         " bytes) is more than the " + std::to_string(tensors) + " tensors of " +
                         std::to_string(sizeof(torch::Tensor)) +
                         " bytes that for_each_tensor shows: the batch would have the other members of its "
                         "first sample; override collate()");
}

void detail::refuse_keys(std::size_t sample, const std::string& missing) {
  throw CollateError("collate: sample " + std::to_string(sample) + " of the batch has no \"" + missing +
                         "\", another has; all samples need the same keys",
                     sample, 0);
}

void detail::refuse_tensors(std::size_t sample, std::size_t own, std::size_t of_first) {
  throw CollateError("collate: sample " + std::to_string(sample) + " of the batch has " +
                         std::to_string(own) + " tensors, sample 0 has " + std::to_string(of_first),
                     sample, 0);
}

void detail::refuse_value(const std::string& why, std::size_t sample) {
  throw CollateError("collate: sample " + std::to_string(sample) + " of the batch is " + why, sample, sample);
}

}  // namespace rtrain::data

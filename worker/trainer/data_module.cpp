#include <rtrain/data/data_module.h>

#include "worker/run/attachment.h"
#include "worker/run/type_name.h"

#include <stdexcept>

namespace rtrain {
namespace {

class FromDatasets final : public LightningDataModule {
 public:
  FromDatasets(Datasets datasets, DataLoaderOptions options)
      : datasets_(std::move(datasets)), options_(std::move(options)) {}
  DataLoaders train_dataloader() override {
    auto options = options_;
    options.shuffle = options.sampler == nullptr;
    return loader(datasets_.train, std::move(options));
  }
  DataLoaders val_dataloader() override { return loader(datasets_.val, options_); }
  DataLoaders test_dataloader() override { return loader(datasets_.test, options_); }
  DataLoaders predict_dataloader() override { return loader(datasets_.predict, options_); }

 private:
  static DataLoaders loader(const std::shared_ptr<const Dataset>& dataset, DataLoaderOptions options) {
    if (dataset == nullptr) return {};
    return DataLoader(dataset, std::move(options));
  }
  Datasets datasets_;
  DataLoaderOptions options_;
};

}  // namespace

LightningDataModule::~LightningDataModule() {
  if (attachment_ && attachment_->data == this) attachment_->data = nullptr;
}

std::shared_ptr<LightningDataModule> LightningDataModule::from_datasets(Datasets datasets,
                                                                        DataLoaderOptions options) {
  return std::make_shared<FromDatasets>(std::move(datasets), std::move(options));
}

void Attachment::tie(const std::shared_ptr<Attachment>& attachment, LightningDataModule* data) {
  if (attachment->data != nullptr && attachment->data != data) attachment->data->attachment_.reset();
  attachment->data = data;
  if (data == nullptr) return;
  const auto before = std::exchange(data->attachment_, attachment);
  if (before && before != attachment && before->data == data) before->data = nullptr;
}

namespace {

LightningModule& module_of(const std::shared_ptr<Attachment>& attachment) {
  if (attachment && attachment->module != nullptr) return *attachment->module;
  throw std::logic_error("the LightningDataModule is not attached to a Trainer");
}

}  // namespace

Batch LightningDataModule::on_before_batch_transfer(Batch batch) {
  return module_of(attachment_).on_before_batch_transfer(std::move(batch));
}
Batch LightningDataModule::transfer_batch_to_device(Batch batch, torch::Device device) {
  return module_of(attachment_).transfer_batch_to_device(std::move(batch), device);
}
Batch LightningDataModule::on_after_batch_transfer(Batch batch) {
  return module_of(attachment_).on_after_batch_transfer(std::move(batch));
}

std::string LightningDataModule::name() const { return type_name(*this); }

Trainer& LightningDataModule::trainer() const {
  if (auto* trainer = Attachment::trainer_of(attachment_)) return *trainer;
  throw std::logic_error("the LightningDataModule is not attached to a Trainer");
}

void AnyDataModule::hold(std::shared_ptr<LightningDataModule> data) {
  if (data == nullptr) throw std::invalid_argument("Trainer: the data module is a null pointer");
  owned_ = std::move(data);
  data_ = owned_.get();
}

}  // namespace rtrain

"""What to do with files that cannot be read here, where several kinds have the same way out."""

ORIGINAL = "give the file that it was made from: PyTorch's, Keras's or ONNX"
UNPACK = "unpack it and give what is in it"
RESAVE_SAVED_MODEL = (
    "in TensorFlow, tf.keras.models.load_model(folder).save('model.keras') makes a file that is "
    "read here, and tf.lite.TFLiteConverter.from_saved_model(folder) another"
)
RESAVE_CHECKPOINT = (
    "of a Keras model load it there and model.save('model.keras'); of TensorFlow 1 write its "
    "variables: reader = tf.train.load_checkpoint(prefix); np.savez('variables.npz', **{name: "
    "reader.get_tensor(name) for name in reader.get_variable_to_shape_map()})"
)
PADDLE = "export the model by paddle2onnx"
TENSORFLOW_JS = "convert it back with tensorflowjs_converter, to Keras's .h5"
